package conformance

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// The cases of tools/testing/selftests/net/forwarding/vxlan_bridge_1d.sh, and
// of its likes for IPv6 underlays (_ipv6) and for another port (_port_8472,
// _port_8472_ipv6).

// bridge1d is what the scripts are played on.
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

// variants are the plain script, _ipv6, _port_8472 and _port_8472_ipv6.
var variants = []variant{{underlay4, 4789}, {underlay6, 4789}, {underlay4, 8472}, {underlay6, 8472}}

// onBridge1d runs one body on a fresh set of sites, for each kind and variant.
func onBridge1d(t *testing.T, all []variant, body func(t *testing.T, s *sites, g *segment)) {
	t.Helper()
	eachVariant(t, all, func(t *testing.T, k kind, v variant) {
		s, g := bridge1d(t, k, v.underlay, v.port)
		body(t, s, g)
	})
}

// eachVariant runs one body for each kind and variant, all in parallel.
func eachVariant(t *testing.T, all []variant, body func(t *testing.T, k kind, v variant)) {
	t.Helper()
	t.Parallel()
	for _, v := range all {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, k kind) { body(t, k, v) })
		})
	}
}

// ping_ipv4, ping_ipv6: the local host and both remote ones answer.
func TestVXLANBridge1DPing(t *testing.T) {
	onBridge1d(t, variants, func(t *testing.T, s *sites, g *segment) { s.pingAll(t, g) })
}

// test_flood: what is for nobody known reaches the local port and both sites
// once each, also while there is a remote that no route leads to.
func TestVXLANBridge1DFlood(t *testing.T) {
	onBridge1d(t, variants, func(t *testing.T, s *sites, g *segment) { s.checkFlood(t, g) })
}

// test_unicast: what is for a MAC address with an entry reaches that place only.
func TestVXLANBridge1DUnicast(t *testing.T) {
	onBridge1d(t, variants, func(t *testing.T, s *sites, g *segment) { s.checkUnicast(t, g) })
}

// reapply_config: all that again after the device left its bridge and came
// back, and after its local address was away.
func TestVXLANBridge1DReapplyConfig(t *testing.T) {
	onBridge1d(t, variants[:2], func(t *testing.T, s *sites, g *segment) {
		s.pingAll(t, g)
		s.reapply(t)
		s.pingAll(t, g)
		s.checkFlood(t, g)
		s.checkUnicast(t, g)
	})
}

// unknownMAC is an address that nobody has.
var unknownMAC = mac("de:ad:be:ef:13:37")

func (s *sites) checkFlood(t *testing.T, g *segment) {
	t.Helper()
	s.wantBurst(t, g, unknownMAC, s.stranger(g), 10, 10, 10)
	g.link.fdb(t, "append", zeroMAC, "dst", g.link.anyRemote(), "self")
	s.wantBurst(t, g, unknownMAC, s.stranger(g), 10, 10, 10)
	g.link.fdb(t, "del", zeroMAC, "dst", g.link.anyRemote(), "self")
}

func (s *sites) checkUnicast(t *testing.T, g *segment) {
	t.Helper()
	v6 := s.underlay.sw.Addr().Is6()
	hosts := []net.HardwareAddr{macOf(t, g.h2, "eth0"), macOf(t, g.pods[0], "eth0"), macOf(t, g.pods[1], "eth0")}
	s.pin(t, g, "h2", hosts[0])
	for i, far := range s.underlay.far {
		g.link.fdb(t, "add", hosts[i+1].String(), "self", "static", "permanent", "dst", far.Addr().String())
		s.pin(t, g, "", hosts[i+1])
	}
	for i, m := range hosts {
		want := make([]int, 3)
		want[i] = 10
		s.wantBurst(t, g, m, g.net.address(v6, 2+i), want...)
	}
	s.unpin(t, g, "h2", hosts[0])
	for i, far := range s.underlay.far {
		g.link.fdb(t, "del", hosts[i+1].String(), "dst", far.Addr().String())
		s.unpin(t, g, "", hosts[i+1])
	}
}

// stranger is an inner address that nobody has, of the underlay's family.
func (s *sites) stranger(g *segment) netip.Addr {
	return g.net.address(s.underlay.sw.Addr().Is6(), 14)
}
