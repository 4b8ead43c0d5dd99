package conformance

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestBridgeNeighSuppress is test_bridge_neigh_suppress.sh as far as it is
// about the device: with neigh_suppress on the link's bridge port, the bridge
// answers ARP requests and neighbour solicitations for whom it knows behind
// the link, and they do not go out; for whom it does not know, and without
// neigh_suppress, they do.
func TestBridgeNeighSuppress(t *testing.T) {
	onBridge1d(t, variants[:2], func(t *testing.T, s *sites, g *segment) {
		known := mac("02:00:00:00:00:77")
		s.pin(t, g, "", known)
		for _, v6 := range []bool{false, true} {
			check(t, s.sw.AddNeighbour(g.bridge, g.net.address(v6, 7), known))
		}
		for _, on := range []bool{false, true, false} {
			check(t, s.sw.SetNeighSuppress(g.dev, on))
			for _, v6 := range []bool{false, true} {
				if answered, out := s.solicit(t, g, g.net.address(v6, 7)); answered != on || out == on {
					t.Errorf("neigh_suppress %v, IPv6 %v: answered %v, out of the link %v", on, v6, answered, out)
				}
				if answered, out := s.solicit(t, g, g.net.address(v6, 8)); answered || !out {
					t.Errorf("neigh_suppress %v, IPv6 %v, unknown: answered %v, out of the link %v", on, v6, answered, out)
				}
			}
		}
	})
}

// solicit asks from h1 who has an address, and tells whether h1 was answered
// and whether the question came to a site.
func (s *sites) solicit(t *testing.T, g *segment, addr netip.Addr) (answered, out bool) {
	t.Helper()
	asked, answers := lab.TestCapture(t, g.far[0].Host, g.dev), newTally(t, g.h1, "eth0")
	source := macOf(t, g.h1, "eth0")
	check(t, g.h1.SendFrame("eth0", solicitation(t, source, g.net.address(addr.Is6(), 1), addr)))
	s.fences.pass(t, g.h1, "eth0", g.tallies[:]...)
	for _, f := range asked.Stop() {
		out = out || asksFor(dissect.Packet(f), addr)
	}
	s.fences.pass(t, g.h2, "eth0", answers)
	return answers.count(func(f lab.Frame) bool { return answersFor(dissect.Packet(f), addr) }) > 0, out
}

// solicitation is the ARP request or neighbour solicitation for an address.
func solicitation(t *testing.T, source net.HardwareAddr, from, addr netip.Addr) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: source, DstMAC: broadcast, EthernetType: layers.EthernetTypeARP}
	if addr.Is4() {
		return serialized(t, eth, &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPRequest, SourceHwAddress: source, SourceProtAddress: from.AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: addr.AsSlice(),
		})
	}
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	last := addr.As16()
	copy(group[13:], last[13:])
	eth.DstMAC, eth.EthernetType = groupMAC(netip.AddrFrom16(group)), layers.EthernetTypeIPv6
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.AsSlice(), DstIP: group[:]}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	check(t, icmp.SetNetworkLayerForChecksum(ip))
	return serialized(t, eth, ip, icmp, &layers.ICMPv6NeighborSolicitation{
		TargetAddress: addr.AsSlice(),
		Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: source}},
	})
}

func asksFor(p gopacket.Packet, addr netip.Addr) bool {
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		return arp.Operation == layers.ARPRequest && net.IP(arp.DstProtAddress).Equal(addr.AsSlice())
	}
	ns, ok := p.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation)
	return ok && ns.TargetAddress.Equal(addr.AsSlice())
}

func answersFor(p gopacket.Packet, addr netip.Addr) bool {
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		return arp.Operation == layers.ARPReply && net.IP(arp.SourceProtAddress).Equal(addr.AsSlice())
	}
	na, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	return ok && na.TargetAddress.Equal(addr.AsSlice())
}
