package conformance

import (
	"maps"
	"testing"
)

// The cases of vxlan_bridge_1q.sh and its likes. There one bridge has VLANs 10
// and 20, each with a vxlan device as its port: VNI 1000 and 2000. Here each
// VLAN is a bridge of its own, which is what they are to the devices; the
// filtering of VLANs is the bridge's, and tests of it are not about vxlan.

// onBridge1q runs one body on sites with both segments, for each kind and
// variant. The devices of each host share a port.
func onBridge1q(t *testing.T, all []variant, body func(t *testing.T, s *sites)) {
	t.Helper()
	eachVariant(t, all, func(t *testing.T, k kind, v variant) {
		s, _ := bridge1d(t, k, v.underlay, v.port)
		s.addSegment(t, k, net2000, bridgeWords)
		body(t, s)
	})
}

// ping_ipv4, ping_ipv6: in both segments all answer, and broadcasts of one do
// not come out in the other.
func TestVXLANBridge1QPing(t *testing.T) {
	onBridge1q(t, variants, func(t *testing.T, s *sites) {
		for _, g := range s.segments {
			s.pingAll(t, g)
			s.wantBurst(t, g, broadcast, s.stranger(g), 10, 10, 10)
		}
	})
}

// test_flood: once to each place of the segment, nowhere in the other.
func TestVXLANBridge1QFlood(t *testing.T) {
	onBridge1q(t, variants, func(t *testing.T, s *sites) {
		for _, g := range s.segments {
			s.checkFlood(t, g)
		}
	})
}

// test_unicast: likewise to one place.
func TestVXLANBridge1QUnicast(t *testing.T) {
	onBridge1q(t, variants, func(t *testing.T, s *sites) {
		for _, g := range s.segments {
			s.checkUnicast(t, g)
		}
	})
}

// reapply_config, with both devices.
func TestVXLANBridge1QReapplyConfig(t *testing.T) {
	onBridge1q(t, variants[:2], func(t *testing.T, s *sites) {
		s.reapply(t)
		for _, g := range s.segments {
			s.pingAll(t, g)
			s.checkFlood(t, g)
			s.checkUnicast(t, g)
		}
	})
}

// test_learning: in both segments, and the same MAC address in both at once.
func TestVXLANBridge1QLearning(t *testing.T) {
	onBridge1q(t, variants[:2], func(t *testing.T, s *sites) {
		s.startLearning(t)
		one, other := s.segments[0], s.segments[1]
		s.teach(t, other)
		s.wantBurst(t, one, unknownMAC, s.stranger(one), 10, 10, 10)
		s.checkLearning(t, one)
		other.link.awaitEntry(t, unknownMAC.String()) // gone
		s.checkLearning(t, other)
	})
}

// test_pvid, as far as it is about the devices: a segment's traffic moves from
// one VNI to another with the port that it goes by, and stops without one.
func TestVXLANBridge1QMove(t *testing.T) {
	onBridge1q(t, variants[:2], func(t *testing.T, s *sites) {
		one, other := s.segments[0], s.segments[1]
		s.wantBurst(t, one, unknownMAC, s.stranger(one), 10, 10, 10)
		check(t, s.sw.SetNoMaster(one.dev))
		s.checkCutOff(t, one)
		check(t, s.sw.SetNoMaster(other.dev))
		check(t, s.sw.SetMaster(one.bridge, other.dev))
		s.checkMoved(t, one, other)
		check(t, s.sw.SetMaster(other.bridge, other.dev))
		check(t, s.sw.SetMaster(one.bridge, one.dev))
		s.wantBurst(t, one, unknownMAC, s.stranger(one), 10, 10, 10)
	})
}

// checkCutOff wants frames of a segment to reach the local host alone.
func (s *sites) checkCutOff(t *testing.T, g *segment) {
	t.Helper()
	got := s.burstTo(t, g, unknownMAC, s.stranger(g), g.tallies[0])
	if want := map[string]int{g.tallies[0].name: 10}; !maps.Equal(got, want) {
		t.Errorf("without a link, frames arrived as %v, want %v", got, want)
	}
}

// checkMoved wants frames of one segment's hosts at the sites of another.
func (s *sites) checkMoved(t *testing.T, from, to *segment) {
	t.Helper()
	where := []*tally{from.tallies[0], to.tallies[1], to.tallies[2]}
	got := s.burstTo(t, from, unknownMAC, s.stranger(from), where...)
	want := map[string]int{}
	for _, c := range where {
		want[c.name] = 10
	}
	if !maps.Equal(got, want) {
		t.Errorf("through the other's link, frames arrived as %v, want %v", got, want)
	}
}
