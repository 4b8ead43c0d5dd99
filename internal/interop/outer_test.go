package interop

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestOuterHeaders looks at every byte that a link with no words of its own
// puts before a frame.
func TestOuterHeaders(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(p.String()+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, p, u, nil)
				plainWire(t, a.Host, b.Host)
				capture := lab.TestCapture(t, b.Host, "eth0")
				for i := range innerA {
					check(t, a.Ping(innerB[i].Addr(), lab.PingOptions{Count: 5, Size: 1000}).Lost())
					check(t, b.Ping(innerA[i].Addr(), lab.PingOptions{Count: 5}).Lost())
				}
				seen := dissect.VXLANs(capture.Stop(), 4789)
				if len(seen) < 40 {
					t.Errorf("%d datagrams seen, want 40 for 20 pings at least", len(seen))
				}
				for _, e := range seen {
					if err := checkOuter(e, u); err != nil {
						t.Errorf("%v\n%v", err, e.Outer)
					}
				}
				check(t, ids(seen))
			})
		}
	}
}

// checkOuter says what is wrong with a datagram that b's eth0 saw.
func checkOuter(e *dissect.Encapsulated, u underlay) error {
	if want := []byte{0x08, 0, 0, 0, 0, 0, 0x05, 0}; !bytes.Equal(e.Header, want) {
		return fmt.Errorf("VXLAN header % x, want % x", e.Header, want)
	}
	from, to := u.a, u.b
	if e.Frame.Outgoing {
		from, to = u.b, u.a
	}
	if src, dst := outerAddrs(e); src != from || dst != to {
		return fmt.Errorf("outer addresses %v to %v, want %v to %v", src, dst, from, to)
	}
	if p := e.UDP.SrcPort; p < 32768 || p >= 60999 {
		return fmt.Errorf("source port %d is not in ip_local_port_range", p)
	}
	overhead := 14 + 20 + 8 + 8
	if e.IPv6 != nil {
		overhead = 14 + 40 + 8 + 8
	}
	if got := e.Frame.Length - len(e.Inner.Data()); got != overhead {
		return fmt.Errorf("%d bytes around the frame, want %d", got, overhead)
	}
	if e.UDP.Checksum == 0 || e.Frame.ChecksumPartial {
		return fmt.Errorf("UDP checksum %#x, partial %v, want a whole one", e.UDP.Checksum, e.Frame.ChecksumPartial)
	}
	if err := dissect.VerifyChecksums(e.Outer); err != nil {
		return err
	}
	return checkOuterIP(e)
}

func checkOuterIP(e *dissect.Encapsulated) error {
	if ip := e.IPv6; ip != nil {
		if ip.HopLimit != 64 || ip.TrafficClass != 0 || ip.FlowLabel != 0 || ip.NextHeader != layers.IPProtocolUDP {
			return fmt.Errorf("want hop limit 64, traffic class 0, flow label 0, and UDP next")
		}
		return nil
	}
	ip := e.IPv4
	if ip.TTL != 64 || ip.TOS != 0 || ip.Flags != 0 || ip.Protocol != layers.IPProtocolUDP || ip.IHL != 5 {
		return fmt.Errorf("want TTL 64, TOS 0, DF clear, protocol 17, no options")
	}
	return nil
}

// ids wants IPv4 identifications that are not 0, which may come up once in
// 65536 datagrams: a packet that may be fragmented needs one.
func ids(seen []*dissect.Encapsulated) error {
	zero := 0
	for _, e := range seen {
		if e.IPv4 != nil && e.IPv4.Id == 0 {
			zero++
		}
	}
	if zero > 1 {
		return fmt.Errorf("%d of %d datagrams have IP identification 0", zero, len(seen))
	}
	return nil
}

// outerAddrs are the addresses of the IP header around a datagram.
func outerAddrs(e *dissect.Encapsulated) (src, dst netip.Addr) {
	if e.IPv6 != nil {
		return addrOf(e.IPv6.SrcIP), addrOf(e.IPv6.DstIP)
	}
	return addrOf(e.IPv4.SrcIP), addrOf(e.IPv4.DstIP)
}

func addrOf(ip []byte) netip.Addr {
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// Second addresses that the VTEP's host has in TestOuterSource. The IPv6 one
// has a short prefix, so that the route prefers the first (RFC 6724 §5, 8).
var (
	second4 = netip.MustParsePrefix("10.211.55.111/24")
	second6 = netip.MustParsePrefix("fd00:211:55::111/48")
)

// TestOuterSource gives local and dev in each combination: local is the source
// address, and without it the route says which.
func TestOuterSource(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			second := second4
			if u == underlay6 {
				second = second6
			}
			for _, c := range []struct {
				name  string
				local netip.Addr
				dev   string
				want  netip.Addr
			}{
				{"local", second.Addr(), "", second.Addr()},
				{"dev", netip.Addr{}, "eth0", u.a},
				{"both", second.Addr(), "eth0", second.Addr()},
				{"neither", netip.Addr{}, "", u.a},
			} {
				t.Run(fmt.Sprintf("%s/%s/%s", k, u.name, c.name), func(t *testing.T) {
					t.Parallel()
					a := newAlone(t, k, u, func(h *lab.Host, s *spec) {
						check(t, h.AddAddr("eth0", second))
						s.Local, s.Dev = c.local, c.dev
					})
					frames := [][]byte{ether(1, typeLocal, []byte("to one")), ether(2, typeLocal, []byte("to all"))}
					copy(frames[1], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
					a.send(t, frames...)
					for _, e := range a.sent(t, frames...) {
						if src, dst := outerAddrs(e); src != c.want || dst != u.b {
							t.Errorf("outer addresses %v to %v, want %v to %v", src, dst, c.want, u.b)
						}
					}
				})
			}
		}
	}
}

// TestNextHop has the peer behind a router: outer frames go to the router's
// MAC address and the peer's IP address.
func TestNextHop(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			h, router := lab.TestHost(t, "a"), lab.TestHost(t, "router")
			check(t, lab.Pair(h, router))
			far := netip.MustParseAddr("10.4.8.23")
			check(t, h.AddRoute(netip.PrefixFrom(far, 24), "eth0", lab.PairB4.Addr()))
			addVTEP(t, h, k, spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 8472, Remote: far, Dev: "eth0"}})
			capture := lab.TestCapture(t, router, "eth0")
			check(t, h.SendFrame("vxlan0", ether(1, typeLocal, nil)))
			f, err := capture.Wait(waitLimit, func(f lab.Frame) bool { _, ok := dissect.DecodeVXLAN(f, 8472); return ok })
			check(t, err)
			d, err := router.Device("eth0")
			check(t, err)
			e, _ := dissect.DecodeVXLAN(f, 8472)
			_, dst := outerAddrs(e)
			if !bytes.Equal(f.Data[:6], d.MAC) || dst != far {
				t.Errorf("sent to %v at % x, want %v at %v", dst, f.Data[:6], far, d.MAC)
			}
		})
	}
}
