package conformance

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// bridge1d is what vxlan_bridge_1d.sh and its likes for IPv6 and for port 8472
// are played on.
func bridge1d(t *testing.T, k kind, u underlay, port uint16) (*sites, *segment) {
	t.Helper()
	s := newSites(t, u, port)
	return s, s.addSegment(t, k, net1000, bridgeWords)
}

// bridgeWords are those of the scripts: nolearning noudpcsum (over IPv6
// udp6zerocsumrx udp6zerocsumtx) tos inherit ttl 100.
func bridgeWords(s *spec) {
	s.NoLearning, s.TOS, s.TTL = true, 1, 100
	if s.Local.Is6() {
		s.UDP6ZeroCSumTx, s.UDP6ZeroCSumRx = true, true
	} else {
		s.NoUDPCSum = true
	}
}

// variant is one of the scripts of a family.
type variant struct {
	underlay
	port uint16
}

func (v variant) String() string { return fmt.Sprintf("%s/%d", v.name, v.port) }

// variants are vxlan_bridge_1d.sh, _ipv6, _port_8472 and _port_8472_ipv6.
var variants = []variant{{underlay4, 4789}, {underlay6, 4789}, {underlay4, 8472}, {underlay6, 8472}}

// onBridge1d runs one body on a fresh set of sites, for each kind and variant.
func onBridge1d(t *testing.T, all []variant, body func(t *testing.T, s *sites, g *segment)) {
	t.Helper()
	for _, v := range all {
		t.Run(v.String(), func(t *testing.T) {
			each(t, func(t *testing.T, k kind) {
				s, g := bridge1d(t, k, v.underlay, v.port)
				body(t, s, g)
			})
		})
	}
}

// unknownMAC is an address that nobody has.
var unknownMAC = mac("de:ad:be:ef:13:37")

// burst sends ten echo requests from h1 and tells how many of them arrived at
// h2 and out of either far link, of this segment and of the others.
func (s *sites) burst(t *testing.T, g *segment, dst net.HardwareAddr, addr netip.Addr) map[string]int {
	t.Helper()
	s.bursts++
	src := net1000.address(addr.Is6(), 1)
	frame := (&echo{srcMAC: macOf(t, g.h1, "eth0"), dstMAC: dst, src: src, dst: addr, id: s.bursts}).frame(t)
	for range 10 {
		check(t, g.h1.SendFrame("eth0", frame))
	}
	arrived := map[string]int{}
	for _, other := range s.segments {
		s.fences.pass(t, other.h1, "eth0", other.tallies[:]...)
		for _, c := range other.tallies {
			if n := c.count(isEcho(s.bursts)); n > 0 {
				arrived[c.name] = n
			}
		}
	}
	return arrived
}

// wantBurst sends a burst and says where how many of it have to arrive: at h2,
// out of the far link 1, out of the far link 2.
func (s *sites) wantBurst(t *testing.T, g *segment, dst net.HardwareAddr, addr netip.Addr, want ...int) {
	t.Helper()
	expected := map[string]int{}
	for i, n := range want {
		if n > 0 {
			expected[g.tallies[i].name] = n
		}
	}
	if got := s.burst(t, g, dst, addr); fmt.Sprint(got) != fmt.Sprint(expected) {
		t.Errorf("10 frames to %v arrived as %v, want %v", dst, got, expected)
	}
}

// stranger is an inner address that nobody has, of the underlay's family.
func (s *sites) stranger() netip.Addr {
	if s.underlay.sw.Addr().Is6() {
		return netip.MustParseAddr("2001:db8:1::100")
	}
	return netip.MustParseAddr("192.0.2.100")
}

// ping_ipv4, ping_ipv6: the local host and both remote ones answer.
func TestVXLANBridge1DPing(t *testing.T) {
	t.Parallel()
	onBridge1d(t, variants, func(t *testing.T, s *sites, g *segment) { s.pingAll(t, g, net1000) })
}

func (s *sites) pingAll(t *testing.T, g *segment, n segmentNet) {
	t.Helper()
	for _, v6 := range []bool{false, true} {
		for host := 2; host <= 4; host++ {
			check(t, g.h1.Ping(n.address(v6, host), lab.PingOptions{Count: 3}).Lost())
		}
	}
}

// test_flood: what is for nobody known reaches the local port and both sites
// once each, also while there is a remote that no route leads to.
func TestVXLANBridge1DFlood(t *testing.T) {
	t.Parallel()
	onBridge1d(t, variants, func(t *testing.T, s *sites, g *segment) { s.flooded(t, g) })
}

func (s *sites) flooded(t *testing.T, g *segment) {
	t.Helper()
	s.wantBurst(t, g, unknownMAC, s.stranger(), 10, 10, 10)
	g.link.fdb(t, "append", zeroMAC, "dst", g.link.anyRemote(), "self")
	s.wantBurst(t, g, unknownMAC, s.stranger(), 10, 10, 10)
	g.link.fdb(t, "del", zeroMAC, "dst", g.link.anyRemote(), "self")
}
