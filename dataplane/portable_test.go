//go:build linux && portable

package dataplane_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/gopacket/layers"
	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

func pings(t *testing.T, a, b *end) {
	t.Helper()
	for i := range innerA {
		check(t, a.Ping(innerB[i].Addr(), lab.PingOptions{Count: 3}).Lost())
		check(t, b.Ping(innerA[i].Addr(), lab.PingOptions{Count: 3}).Lost())
	}
}

func transfers(t *testing.T, a, b *end) {
	t.Helper()
	const size = 4<<20 + 1
	for i := range innerA {
		_, err := lab.Transfer(a.Host, b.Host, netip.AddrPortFrom(innerB[i].Addr(), 0), size)
		check(t, err)
		_, err = lab.Transfer(b.Host, a.Host, netip.AddrPortFrom(innerA[i].Addr(), 0), size)
		check(t, err)
	}
}

// TestPortableToKernel is the whole way through, each kind of underlay against
// the kernel's device, whose super-frames and unfinished checksums cross the
// wire as they are.
func TestPortableToKernel(t *testing.T) {
	for _, u := range []underlay{underlay4, underlay6} {
		t.Run(u.name, func(t *testing.T) {
			a, b := connect(t, u, nil)
			capture := lab.TestCapture(t, b.Host, "eth0")
			pings(t, a, b)
			before := a.ask(t)
			transfers(t, a, b)
			checkWire(t, dissect.VXLANs(capture.Stop(), port), u)
			checkFigures(t, before, a.stop(t))
		})
	}
}

// checkWire looks at what the portable end sent: the kernel's device would
// send the same but for DF and the flow label, which are the system's.
func checkWire(t *testing.T, seen []*dissect.Encapsulated, u underlay) {
	t.Helper()
	ports := map[layers.UDPPort]bool{}
	sent := 0
	for _, e := range seen {
		if src, ttl := outer(e); src == u.a {
			sent++
			ports[e.UDP.SrcPort] = true
			switch {
			case string(e.Header) != "\x08\x00\x00\x00\x00\x00\x05\x00":
				t.Fatalf("header % x", e.Header)
			case ttl != 64, e.UDP.Checksum == 0:
				t.Fatalf("TTL %d, checksum %#x: %v", ttl, e.UDP.Checksum, e.Outer)
			case e.Frame.Length > 1500+14:
				t.Fatalf("frame of %d bytes", e.Frame.Length)
			case !e.Frame.ChecksumPartial && dissect.VerifyChecksums(e.Outer) != nil:
				t.Fatalf("outer checksum: %v", e.Outer)
			case dissect.VerifyChecksums(e.Inner) != nil:
				t.Fatalf("inner checksum: %v: %v", dissect.VerifyChecksums(e.Inner), e.Inner)
			}
		}
	}
	if sent < 8<<20/u.mtu || len(ports) < 4 {
		t.Errorf("%d datagrams from %d source ports", sent, len(ports))
	}
}

// outer returns the source and TTL of the outer header.
func outer(e *dissect.Encapsulated) (src netip.Addr, ttl uint8) {
	if e.IPv4 != nil {
		src, _ = netip.AddrFromSlice(e.IPv4.SrcIP.To4())
		return src, e.IPv4.TTL
	}
	src, _ = netip.AddrFromSlice(e.IPv6.SrcIP)
	return src, e.IPv6.HopLimit
}

// checkFigures wants nothing dropped since before, when both ends were up.
func checkFigures(t *testing.T, before, r report) {
	t.Helper()
	s := r.Stats
	if s.TxPackets == 0 || s.RxPackets == 0 || s.Syscalls.DevRead == 0 || s.Syscalls.DevWrite == 0 || s.Syscalls.UDPRecv == 0 || s.Syscalls.UDPSend == 0 {
		t.Errorf("figures %+v", s)
	}
	for reason, n := range s.Drops {
		if n -= before.Stats.Drops[reason]; n > 0 {
			t.Errorf("%d dropped for %s", n, reason)
		}
	}
	for _, name := range []string{"dev_gso", "dev_uso", "udp_gso", "udp_gro", "tunnel_gso"} {
		if !strings.HasPrefix(r.Info.Features[name], "off (") {
			t.Errorf("feature %s is %q", name, r.Info.Features[name])
		}
	}
}

// TestPortableToPortable has the portable path at both ends, with no offload
// on the wire between them.
func TestPortableToPortable(t *testing.T) {
	lab.NeedTUN(t)
	ha, hb := lab.TestPair(t)
	check(t, ha.SetOffloads("eth0", lab.OffloadsOff()))
	check(t, hb.SetOffloads("eth0", lab.OffloadsOff()))
	u := underlay4
	a := portableEnd(t, ha, dataplane.LinkConfig{Remote: u.b}, u.mtu, innerA)
	b := portableEnd(t, hb, dataplane.LinkConfig{Remote: lab.PairA4.Addr()}, u.mtu, innerB)
	pings(t, a, b)
	beforeA, beforeB := a.ask(t), b.ask(t)
	transfers(t, a, b)
	checkFigures(t, beforeA, a.stop(t))
	checkFigures(t, beforeB, b.stop(t))
}

// TestPortableLinksAtOnce has two links share a port while both carry a bulk
// flow each way: their devices are read at the same time.
func TestPortableLinksAtOnce(t *testing.T) {
	lab.NeedTUN(t)
	ha, hb := lab.TestPair(t)
	const second, secondVNI = "tap1", vni + 1
	ends := make([]*end, 2)
	for i, h := range []*lab.Host{ha, hb} {
		remote := []netip.Prefix{lab.PairB4, lab.PairA4}[i].Addr()
		ends[i] = portableEnd(t, h, dataplane.LinkConfig{Remote: remote}, underlay4.mtu, [][]netip.Prefix{innerA, innerB}[i],
			dataplane.LinkConfig{Name: second, VNI: secondVNI, Port: port, Remote: remote})
		check(t, h.SetMTU(second, underlay4.mtu))
		bringUp(t, ends[i], second, secondInner[i:i+1])
	}
	pings(t, ends[0], ends[1])
	before := ends[0].ask(t)
	var wg sync.WaitGroup
	for _, flow := range []struct {
		from, to *lab.Host
		dst      netip.Prefix
	}{{ha, hb, innerB[0]}, {hb, ha, innerA[0]}, {ha, hb, secondInner[1]}, {hb, ha, secondInner[0]}} {
		wg.Go(func() {
			if _, err := lab.Transfer(flow.from, flow.to, netip.AddrPortFrom(flow.dst.Addr(), 0), 2<<20); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkFigures(t, before, ends[0].stop(t))
}

// secondInner are the addresses of the second link's two ends.
var secondInner = []netip.Prefix{netip.MustParsePrefix("10.20.2.2/24"), netip.MustParsePrefix("10.20.2.3/24")}

// TestPortableOuterHeader checks the words that set something outside: they
// are options of the socket here, and change with the inner packet.
func TestPortableOuterHeader(t *testing.T) {
	for _, u := range []underlay{underlay4, underlay6} {
		t.Run(u.name, func(t *testing.T) {
			a, b := connect(t, u, func(c *dataplane.LinkConfig) {
				c.TTL, c.TOSCopy, c.SrcPortLow, c.SrcPortHigh = 9, true, 5000, 5001
			})
			pings(t, a, b)
			capture := lab.TestCapture(t, b.Host, "eth0")
			for _, tos := range []uint8{0, 0x28, 0x2a, 0x2b, 0} {
				check(t, a.Ping(innerB[0].Addr(), lab.PingOptions{TOS: tos}).Lost())
			}
			var got []uint8
			for _, e := range dissect.VXLANs(capture.Stop(), port) {
				if src, ttl := outer(e); src == u.a && e.Inner.Layer(layers.LayerTypeICMPv4) != nil {
					got = append(got, outerTOS(e))
					if ttl != 9 || e.UDP.SrcPort != 5000 {
						t.Errorf("TTL %d, source port %d, want 9 and 5000", ttl, e.UDP.SrcPort)
					}
				}
			}
			if want := []uint8{0, 0x28, 0x2a, 0x2a, 0}; !slices.Equal(got, want) {
				t.Errorf("outer TOS %#x, want %#x", got, want)
			}
		})
	}
}

func outerTOS(e *dissect.Encapsulated) uint8 {
	if e.IPv4 != nil {
		return e.IPv4.TOS
	}
	return e.IPv6.TrafficClass
}

// TestPortableCongestionMarks sends frames whose outer header is marked CE:
// the mark reaches the inner packet over IPv6, and cannot over IPv4.
func TestPortableCongestionMarks(t *testing.T) {
	for _, c := range []struct {
		underlay
		want uint8
	}{{underlay4, 2}, {underlay6, 3}} {
		t.Run(c.name, func(t *testing.T) {
			a, b := connect(t, c.underlay, nil)
			pings(t, a, b)
			capture := lab.TestCapture(t, b.Host, "eth0")
			check(t, b.Ping(innerA[0].Addr(), lab.PingOptions{TOS: 2, TTL: 77}).Lost())
			frame, err := capture.Wait(limit, func(f lab.Frame) bool {
				e, ok := dissect.DecodeVXLAN(f, port)
				return ok && f.Outgoing && isMarked(e.Inner.Data())
			})
			check(t, err)
			e, _ := dissect.DecodeVXLAN(frame, port)
			inside := lab.TestCapture(t, a.Host, device)
			check(t, b.SendUDP(netip.AddrPortFrom(c.b, 40000), netip.AddrPortFrom(c.a, port), e.UDP.Payload, lab.DatagramOptions{TOS: 3}))
			f, err := inside.Wait(limit, func(f lab.Frame) bool { return isMarked(f.Data) })
			check(t, err)
			if ip := dissect.Packet(f).Layer(layers.LayerTypeIPv4).(*layers.IPv4); ip.TOS != c.want {
				t.Errorf("inner TOS %d, want %d", ip.TOS, c.want)
			}
		})
	}
}

// isMarked tells the one ping that is to be replayed by its TTL.
func isMarked(frame []byte) bool { return len(frame) > 22 && frame[12] == 8 && frame[22] == 77 }

// TestPortableRefusals asks for what the portable path has no way to do.
func TestPortableRefusals(t *testing.T) {
	lab.NeedTUN(t)
	h, _ := lab.TestPair(t)
	local := dataplane.LinkConfig{Name: device, VNI: vni, Port: port, Remote: underlay4.b}
	for word, change := range map[string]func(*dataplane.LinkConfig){
		"mtu":            func(c *dataplane.LinkConfig) { c.MTU = 1400 },
		"address":        func(c *dataplane.LinkConfig) { c.Address = "02:00:00:00:00:01" },
		"df set":         func(c *dataplane.LinkConfig) { c.DF = dataplane.DFSet },
		"df inherit":     func(c *dataplane.LinkConfig) { c.DF = dataplane.DFInherit },
		"flowlabel":      func(c *dataplane.LinkConfig) { c.FlowLabel = 7 },
		"noudpcsum":      func(c *dataplane.LinkConfig) { c.Checksum.NoUDP = true },
		"udp6zerocsumtx": func(c *dataplane.LinkConfig) { c.Checksum.ZeroTx6 = true },
		"udp6zerocsumrx": func(c *dataplane.LinkConfig) { c.Checksum.AcceptRx6 = true },
		"proxy":          func(c *dataplane.LinkConfig) { c.Proxy = true },
		"interface eth0": func(c *dataplane.LinkConfig) { c.Name = "eth0" },
	} {
		cfg := local
		change(&cfg)
		check(t, h.Do(func() error {
			d := dataplane.New(zap.NewNop())
			defer d.Close()
			if _, err := d.AddLink(cfg); err == nil || !strings.HasPrefix(err.Error(), word+":") && !strings.HasPrefix(err.Error(), word+" ") {
				t.Errorf("%s: %v", word, err)
			}
			return nil
		}))
	}
	if _, err := h.Device(device); err == nil {
		t.Errorf("%s was left behind", device)
	}
}

// TestPortableDeletion deletes the device from outside, then ends a link in
// order: each time device and port are free.
func TestPortableDeletion(t *testing.T) {
	a, b := connect(t, underlay4, nil)
	pings(t, a, b)
	check(t, a.Delete(device))
	out, err := a.process.Wait(limit)
	if err != nil || out.Status != 0 || !a.report(t).Gone {
		t.Fatalf("after the deletion: %+v, %v", out, err)
	}
	again := portableEnd(t, a.Host, dataplane.LinkConfig{Remote: underlay4.b, Local: underlay4.a}, underlay4.mtu, innerA)
	pings(t, again, b)
	again.stop(t)
	if _, err := a.Device(device); err == nil {
		t.Errorf("%s was left behind", device)
	}
	check(t, a.Do(func() error {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		if err != nil {
			return err
		}
		return c.Close()
	}))
}

// TestPortableFollowsAttributes has the link notice what was changed by hand,
// without which a received super-frame would be cut for the wrong MTU.
func TestPortableFollowsAttributes(t *testing.T) {
	a, _ := connect(t, underlay4, nil)
	check(t, lab.Eventually(limit, func() error {
		if have := a.ask(t).Info.MTU; have != underlay4.mtu {
			return fmt.Errorf("the link's MTU is %d, the device's %d", have, underlay4.mtu)
		}
		return nil
	}))
	if log := a.process.Stderr(); !strings.Contains(log, `"have": 1500, "wanted": 1450`) {
		t.Errorf("no advice about the MTU: %s", log)
	}
}
