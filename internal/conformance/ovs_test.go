package conformance

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// The cases of Open vSwitch's tests/system-traffic.at and dpif-netdev.at that
// are about tunnels. There the other end is a kernel's vxlan device, and here.

// ovs is such a pair of ends.
type ovs struct {
	a, b *link // b is the kernel's
}

// ovsAddrs are the ends' inner addresses.
var ovsAddrs = [2][]netip.Prefix{
	{netip.MustParsePrefix("10.1.1.1/24"), netip.MustParsePrefix("fd01::1/64")},
	{netip.MustParsePrefix("10.1.1.100/24"), netip.MustParsePrefix("fd01::100/64")},
}

// newOVS makes both ends: VNI 0, each the other's remote. adjust may change
// what both are made of.
func newOVS(t *testing.T, k kind, v6 bool, adjust func(*spec)) *ovs {
	t.Helper()
	ha, hb := lab.TestPair(t)
	ends := [2]netip.Addr{pairAddr(v6), peerAddr(pairAddr(v6))}
	var made [2]*link
	for i, end := range []struct {
		*lab.Host
		kind
	}{{ha, k}, {hb, kernel}} {
		s := spec{VXLAN: lab.VXLAN{Name: "at_vxlan0", ID: 0, Port: 4789, Remote: ends[1-i], Local: ends[i], Dev: "eth0"}, Addrs: ovsAddrs[i]}
		if adjust != nil {
			adjust(&s)
		}
		made[i] = newLink(t, end.Host, end.kind, s)
	}
	return &ovs{made[0], made[1]}
}

// zeroChecksums6 are the words of the tunnel over IPv6.
func zeroChecksums6(s *spec) { s.UDP6ZeroCSumTx, s.UDP6ZeroCSumRx = s.Local.Is6(), s.Local.Is6() }

// ping over vxlan tunnel, ping over vxlan6 tunnel: pings of 56, 1600 and 3200
// bytes, 60 000 bytes by TCP and 600 by UDP, both ways.
func TestOVSTunnel(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		o := newOVS(t, k, v6, zeroChecksums6)
		for _, way := range [][2]*link{{o.a, o.b}, {o.b, o.a}} {
			from, to := way[0].Host, way[1].Host
			for _, p := range must(to.Device("at_vxlan0"))(t).Addresses {
				if p.Addr().IsLinkLocalUnicast() {
					continue
				}
				for _, size := range []int{56, 1600, 3200} {
					check(t, from.Ping(p.Addr(), lab.PingOptions{Count: 3, Size: size}).Lost())
				}
				at := netip.AddrPortFrom(p.Addr(), 0)
				_, err := lab.Transfer(from, to, at, 60_000)
				check(t, err)
				_, err = lab.Echo(from, to, at, []int{600})
				check(t, err)
			}
		}
	})
}

// ping vlan over vxlan tunnel: frames with VLAN 100 cross with their tag, both
// ways. The script's VLAN 42 of the underlay is left out.
func TestOVSTaggedFrames(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		o := newOVS(t, k, v6, nil)
		for i, way := range [][2]*link{{o.a, o.b}, {o.b, o.a}} {
			e := echo{srcMAC: macOf(t, way[0].Host, "at_vxlan0"), dstMAC: broadcast, src: ovsAddrs[0][0].Addr(), dst: ovsAddrs[1][0].Addr(), id: uint16(i)}
			frame := slices.Insert(e.frame(t), 12, 0x81, 0, 0, 100)
			arrived := newTally(t, way[1].Host, "at_vxlan0")
			check(t, way[0].SendFrame("at_vxlan0", frame))
			arrived.await(t, 1, func(f lab.Frame) bool { return slices.Equal(f.Data, frame) })
		}
	})
}

// tcp over vxlan tunnel with software fallback: with an MTU of 1400 and df set
// a wire that cuts nothing carries at least twenty full segments: an IP packet
// of 0x5aa bytes with DF, a UDP datagram of 0x596 without a checksum, and an IP
// packet of 0x578 inside.
func TestOVSSoftwareFallback(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		o := newOVS(t, k, false, func(s *spec) { s.MTU, s.DF, s.NoUDPCSum = 1400, lab.DFSet, true })
		wire := o.wire(t)
		_, err := lab.Transfer(o.a.Host, o.b.Host, netip.AddrPortFrom(ovsAddrs[1][0].Addr(), 0), 60_000)
		check(t, err)
		full := 0
		for _, e := range dissect.VXLANs(wire.Stop(), 4789) {
			inner, ok := e.Inner.NetworkLayer().(*layers.IPv4)
			if ok && !e.Frame.Outgoing && e.IPv4.Length == 0x5aa && e.IPv4.Flags == layers.IPv4DontFragment &&
				e.UDP.Length == 0x596 && e.UDP.Checksum == 0 && inner.Length == 0x578 {
				full++
			}
		}
		if full < 20 {
			t.Errorf("%d full segments on the wire, want at least 20", full)
		}
	})
}

// wire captures, at b, what crosses it as a cable would carry it.
func (o *ovs) wire(t *testing.T) *lab.Capture {
	t.Helper()
	for _, end := range []*link{o.a, o.b} {
		check(t, end.SetOffloads("eth0", lab.OffloadsOff()))
	}
	return lab.TestCapture(t, o.b.Host, "eth0")
}

// Fragmentation over vxlan, IPv6 Fragmentation over vxlan: fragments of inner
// packets cross, and make packets again. What conntrack thinks of them there
// is Open vSwitch's; weft has no such thing.
func TestOVSFragments(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		o := newOVS(t, k, v6, nil)
		for i := range ovsAddrs[0] {
			arrived := newTally(t, o.a.Host, "at_vxlan0")
			check(t, o.b.Ping(ovsAddrs[0][i].Addr(), lab.PingOptions{Count: 3, Size: 3200}).Lost())
			arrived.await(t, 3*3, isFragment)
		}
	})
}

// isFragment holds for those of IPv4 and IPv6.
func isFragment(f lab.Frame) bool {
	p := dissect.Packet(f)
	if ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4); ok {
		return ip.FragOffset > 0 || ip.Flags&layers.IPv4MoreFragments != 0
	}
	return p.Layer(layers.LayerTypeIPv6Fragment) != nil
}

// vxlan tunnel - no, ip, tcp and udp csum offload, inner IPv4 and IPv6: whether
// the device is left to compute checksums or not, those inside and outside are
// right on the wire.
func TestOVSChecksums(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		o := newOVS(t, k, v6, nil)
		for _, on := range []bool{true, false} {
			check(t, o.a.SetOffloads("at_vxlan0", lab.Offloads{"tx-checksum-ip-generic": on}))
			wire := o.wire(t)
			kinds := map[string]int{}
			for _, p := range ovsAddrs[1] {
				at := netip.AddrPortFrom(p.Addr(), 0)
				_, err := lab.Transfer(o.a.Host, o.b.Host, at, 60_000)
				check(t, err)
				_, err = lab.Echo(o.a.Host, o.b.Host, at, []int{1, 600, 1400, 3000})
				check(t, err)
			}
			for _, e := range dissect.VXLANs(wire.Stop(), 4789) {
				if e.Frame.Outgoing || e.Inner.NetworkLayer() == nil {
					continue
				}
				check(t, dissect.VerifyChecksums(e.Outer))
				check(t, dissect.VerifyChecksums(e.Inner))
				for _, l := range e.Inner.Layers() {
					kinds[l.LayerType().String()]++
				}
			}
			for _, kind := range []string{"IPv4", "IPv6", "TCP", "UDP"} {
				if kinds[kind] < 4 {
					t.Errorf("checksum offload %v: %d packets of %s seen, want some", on, kinds[kind], kind)
				}
			}
		}
	})
}
