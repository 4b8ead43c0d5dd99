package interop

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

const flannelPort = 8285

// bareOf takes a frame of the underlay apart that is a datagram of flannel's udp
// backend: its payload is the IP packet, from the first byte to the last.
func bareOf(f lab.Frame) (outer *layers.UDP, ttl uint8, packet gopacket.Packet) {
	p := dissect.Packet(f)
	udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp == nil || udp.DstPort != flannelPort || len(udp.Payload) == 0 {
		return nil, 0, nil
	}
	packet = gopacket.NewPacket(udp.Payload, ipDecoder(udp.Payload), gopacket.Default)
	switch ip := packet.NetworkLayer().(type) {
	case *layers.IPv4:
		ttl = ip.TTL
	case *layers.IPv6:
		ttl = ip.HopLimit
	}
	return udp, ttl, packet
}

// ipDecoder is the one for an IP packet.
func ipDecoder(packet []byte) gopacket.Decoder {
	if packet[0]>>4 == 6 {
		return layers.LayerTypeIPv6
	}
	return layers.LayerTypeIPv4
}

// bares takes apart those frames that are datagrams of flannel's udp backend, as
// dissect.VXLANs does. Greetings alone are left out; those behind a packet are not
// taken off.
func bares(frames []lab.Frame) (found []*dissect.Encapsulated) {
	for _, f := range frames {
		e := &dissect.Encapsulated{Frame: f, Outer: dissect.Packet(f)}
		e.UDP, _ = e.Outer.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if e.UDP == nil || e.UDP.DstPort != flannelPort || len(e.UDP.Payload) == 0 || string(e.UDP.Payload) == greeting {
			continue
		}
		e.IPv4, _ = e.Outer.NetworkLayer().(*layers.IPv4)
		e.IPv6, _ = e.Outer.NetworkLayer().(*layers.IPv6)
		e.Inner = gopacket.NewPacket(e.UDP.Payload, ipDecoder(e.UDP.Payload), gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		found = append(found, e)
	}
	return found
}

// TestUDPLinkPing looks at the wire while hosts ping each other: bare packets,
// one port for everything, and no TTL lost on the way.
func TestUDPLinkPing(t *testing.T) {
	t.Parallel()
	for _, u := range underlays {
		for _, word := range []string{"on", "off"} {
			t.Run(u.name+"/offload-"+word, func(t *testing.T) {
				a, b := connectUDP(t, u, "offload", word)
				capture, inner := lab.TestCapture(t, b.Host, "eth0"), lab.TestCapture(t, b.Host, b.link)
				for i := range nodesA {
					check(t, a.Ping(nodesB[i].Addr(), lab.PingOptions{Count: 3, Size: 1000, TTL: 33}).Lost())
					check(t, b.Ping(nodesA[i].Addr(), lab.PingOptions{Count: 3, Size: 1000, TTL: 33}).Lost())
				}
				seen := 0
				for _, f := range capture.Stop() {
					udp, ttl, packet := bareOf(f)
					if udp == nil {
						continue
					}
					if packet.NetworkLayer() == nil || packet.ErrorLayer() != nil {
						t.Fatalf("no IP packet in %x", udp.Payload)
					}
					if err := dissect.VerifyChecksums(packet); err != nil {
						t.Errorf("%v: %v", packet, err)
					}
					if udp.SrcPort != flannelPort || f.Length > 1500+14 {
						t.Errorf("from port %d, %d bytes", udp.SrcPort, f.Length)
					}
					if ttl == 33 {
						seen++
					}
				}
				if seen != 12 {
					t.Errorf("%d requests with TTL 33 on the wire, want 12", seen)
				}
				for _, f := range inner.Stop() {
					if ip := dissect.Packet(f).NetworkLayer(); ip == nil {
						t.Errorf("%x passes the device", f.Data)
					}
				}
				m := a.weft.stats(a.link)
				if m.RxPackets < 12 || m.TxPackets < 12 || m.RxBytes < 12*1028 || m.RxBytes > 20*1100 {
					t.Errorf("counted %+v", m)
				}
			})
		}
	}
}

// TestUDPLinkTransfer carries checked streams each way, with and without
// super-frames, and wants those offloads to engage that can.
func TestUDPLinkTransfer(t *testing.T) {
	t.Parallel()
	for _, u := range underlays {
		for _, word := range []string{"on", "off"} {
			t.Run(u.name+"/offload-"+word, func(t *testing.T) {
				t.Parallel()
				a, b := connectUDP(t, u, "offload", word)
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				for _, mode := range wireModes {
					t.Run(mode.name, func(t *testing.T) {
						mode.apply(t, a, b)
						m := newMeter(t, a, b)
						for i := range nodesA {
							transfer(t, a, b, nodesB[i], smallTransfer(t))
							transfer(t, b, a, nodesA[i], smallTransfer(t))
						}
						m.checkDrops(t, overrun(word)...)
						want := tcpOffloads(pairing{user, user}, mode, word)
						want.tunnelGSO = false // there is no tunnel that a device knows
						m.checkOffloads(t, want)
					})
				}
			})
		}
	}
}

// TestUDPLinkMTU: what fits goes, what does not is refused at its sender.
func TestUDPLinkMTU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		underlay
		mtu int
	}{{underlay4, 1472}, {underlay6, 1452}} {
		t.Run(c.name, func(t *testing.T) {
			a, b := connectUDP(t, c.underlay)
			if d, err := a.Device(a.link); err != nil || d.MTU != c.mtu || d.Flags&net.FlagPointToPoint == 0 || len(d.MAC) > 0 {
				t.Errorf("%+v, %v, want an MTU of %d", d, err, c.mtu)
			}
			check(t, a.Ping(b.addr, lab.PingOptions{Size: c.mtu - 28, DF: true}).Lost())
			check(t, a.Ping(nodesB[1].Addr(), lab.PingOptions{Size: c.mtu - 48, DF: true}).Lost())
			if r := a.Ping(b.addr, lab.PingOptions{Size: c.mtu - 27, DF: true}); r.Err == nil {
				t.Errorf("one byte more: %+v", r)
			}
			check(t, a.Ping(b.addr, lab.PingOptions{Size: 4000}).Lost()) // in fragments
		})
	}
}

// TestUDPLinkSocket: the socket is on the address and port that were given, and
// a port is held by one such link.
func TestUDPLinkSocket(t *testing.T) {
	t.Parallel()
	a, _ := lab.TestPair(t)
	w := newWeft(t, a)
	refused := func(words string, want string) {
		t.Helper()
		out := w.run(strings.Fields(words)...)
		if out.Status != 1 || !strings.Contains(out.Stderr, want) {
			t.Errorf("weft %s: status %d, %q, want %q", words, out.Status, out.Stderr, want)
		}
	}
	refused("link add f0 type udp local 192.0.2.77", "local 192.0.2.77: no device of this network namespace has that address")
	w.must("link", "add", "f0", "type", "udp", "local", underlay4.a.String())
	check(t, a.Do(func() error {
		other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IP{127, 0, 0, 1}, Port: flannelPort})
		if err != nil {
			return fmt.Errorf("the port is held on another address too: %w", err)
		}
		other.Close()
		if _, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(underlay4.a, flannelPort))); err == nil {
			t.Error("the port is not held")
		}
		return nil
	}))
	refused("link add f1 type udp", "UDP port 8285 is taken by link f0: a link of type udp has its port to itself: choose another port")
	refused("link add f1 type udp local ::", "taken by link f0")
	refused("link add v1 type vxlan id 5 dstport 8285", "taken by link f0")
	w.must("link", "add", "v2", "type", "vxlan", "id", "5", "dstport", "7890")
	refused("link add f1 type udp port 7890", "UDP port 7890 is taken by link v2")
	w.must("link", "add", "f1", "type", "udp", "port", "7891", "local", "::")
	w.must("link", "del", "f0")
	w.must("link", "add", "f2", "type", "udp") // the port is free again
	d, err := a.Device("f2")
	check(t, err)
	if d.MTU != 1472 {
		t.Errorf("mtu %d without dev, want 1472", d.MTU)
	}
}

// TestUDPLinkShown reads what is told of such a link.
func TestUDPLinkShown(t *testing.T) {
	t.Parallel()
	h, _ := lab.TestPair(t)
	a := addUDPLink(t, h, underlay4.a, nodesA)
	text := a.weft.must("link", "show", a.link)
	for _, want := range []string{": flannel0: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1472 ", "\n    link/none \n", "\n    udp local 10.211.55.11 dev eth0 port 8285\n", "dev_gso on"} {
		if !strings.Contains(text, want) {
			t.Errorf("link show: %q is not in %q", want, text)
		}
	}
	shown := a.weft.must("-j", "link", "show", a.link)
	for _, want := range []string{`"link_type":"none"`, `"linkinfo":{"info_kind":"udp","info_data":{"local":"10.211.55.11","link":"eth0","port":8285}}`} {
		if !strings.Contains(shown, want) {
			t.Errorf("link show -j: %s is not in %s", want, shown)
		}
	}
	if strings.Contains(shown, `"address"`) || strings.Contains(shown, `"broadcast"`) {
		t.Errorf("link show -j tells of a MAC address: %s", shown)
	}
	for _, words := range [][]string{
		{"fdb", "show", "dev", a.link},
		{"fdb", "add", "02:00:00:00:00:01", "dev", a.link, "dst", "192.0.2.1"},
		{"fdb", "flush", "dev", a.link},
	} {
		if out := a.weft.run(words...); out.Status != 1 || !strings.Contains(out.Stderr, "flannel0 has no FDB: it is a link of type udp") {
			t.Errorf("weft %v: status %d, %q", words, out.Status, out.Stderr)
		}
	}
	if out := a.weft.must("fdb", "show"); out != "" {
		t.Errorf("fdb show: %q", out)
	}
	a.weft.must("link", "set", a.link, "allow-sources", "10.211.55.0/24")
	a.weft.must("link", "set", a.link, "type", "udp", "allow-sources", "none")
	for _, words := range []string{"local 10.211.55.12", "remote 10.211.55.12", "type vxlan ttl 5", "nolearning ageing 5"} {
		if out := a.weft.run(append([]string{"link", "set", a.link}, strings.Fields(words)...)...); out.Status != 1 || !strings.Contains(out.Stderr, "type") {
			t.Errorf("link set %s: status %d, %q", words, out.Status, out.Stderr)
		}
	}
}
