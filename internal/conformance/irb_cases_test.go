package conformance

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
)

// reach is one ping of the scripts: from a host of leaf0 to any other, and the
// VNIs in which request and reply cross the spine.
type reach struct {
	from, to int // segments
	remote   int // the leaf of the host pinged
	vnis     map[uint32]bool
}

// wantReach pings, and wants what crossed the spine to have been in those VNIs.
func (f *fabric) wantReach(t *testing.T, all []reach) {
	t.Helper()
	for _, r := range all {
		f.pings++ // of each its own size, by which its packets are known
		dst := f.address(r.to, 101+r.remote).Addr()
		if err := f.leaves[0].hosts[r.from].Ping(dst, lab.PingOptions{Count: 2, Size: 100 + f.pings}).Lost(); err != nil {
			t.Errorf("from segment %d to %d of leaf %d: %v", r.from, r.to, r.remote, err)
			continue
		}
		check(t, lab.Eventually(waitLimit, func() error {
			if got := vnisOf(f.wire.Frames(), 14+headers(dst)+100+f.pings); !maps.Equal(got, r.vnis) {
				return fmt.Errorf("from segment %d to %d of leaf %d: packets crossed in VNIs %v, want %v", r.from, r.to, r.remote, got, r.vnis)
			}
			return nil
		}))
	}
}

// vnisOf are the VNIs in which echo requests and replies crossed, whose frames
// have a size.
func vnisOf(frames []lab.Frame, size int) map[uint32]bool {
	vnis := map[uint32]bool{}
	for _, e := range lab.VXLANs(frames, 4789) {
		if len(e.Inner.Data()) == size {
			vnis[e.VXLAN.VNI] = true
		}
	}
	return vnis
}

func vnis(all ...uint32) map[uint32]bool {
	m := map[uint32]bool{}
	for _, v := range all {
		m[v] = true
	}
	return m
}

// asymmetric are the pings of both scripts where each leaf routes what it sends
// and bridges what it gets: a request goes in the segment of its destination,
// the reply in that of its own.
var asymmetric = []reach{
	{10, 20, 0, vnis()},
	{10, 10, 1, vnis(1000)},
	{20, 20, 1, vnis(2000)},
	{10, 20, 1, vnis(1000, 2000)},
	{20, 10, 1, vnis(1000, 2000)},
}

// vxlan_asymmetric.sh: ping_ipv4, arp_decap; vxlan_asymmetric_ipv6.sh:
// ping_ipv6, arp_decap. The second is the first without what the leaves were
// told of neighbours.
func TestVXLANAsymmetric(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		f := newFabric(t, k, v6, 10, 20)
		f.wantReach(t, asymmetric)
		for segment := range f.leaves[0].hosts {
			f.forget(t, segment)
		}
		f.wantReach(t, asymmetric)
	})
}

// forget takes from leaf0 what it was told of the neighbour in a segment.
func (f *fabric) forget(t *testing.T, segment int) {
	t.Helper()
	f.changeNeighbour(t, segment, false)
}

func (f *fabric) changeNeighbour(t *testing.T, segment int, known bool) {
	t.Helper()
	br, addr := fmt.Sprintf("br%d", segment), f.address(segment, 102).Addr()
	if known {
		check(t, f.leaves[0].AddNeighbour(br, addr, macOf(t, f.leaves[1].hosts[segment], "eth0")))
		return
	}
	check(t, f.leaves[0].DelNeighbour(br, addr))
}

// vxlan_symmetric.sh: ping_ipv4; vxlan_symmetric_ipv6.sh: ping_ipv6. Both
// leaves route: between them packets are in a segment of their own.
func TestVXLANSymmetric(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		f := newFabric(t, k, v6, 10, 20, routed)
		f.wantReach(t, []reach{
			{10, 20, 0, vnis()},
			{10, 10, 1, vnis(1000)},
			{20, 20, 1, vnis(2000)},
			{10, 20, 1, vnis(104001)},
			{20, 10, 1, vnis(104001)},
		})
	})
}

// vxlan_asymmetric.sh: arp_suppression; test_bridge_neigh_suppress.sh:
// neigh_suppress_arp, neigh_suppress_ns. Where the port of the link suppresses
// them, questions for neighbours that the leaf knows are answered by its
// bridge and do not cross; for others, and without, they do.
func TestVXLANSuppression(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		f := newFabric(t, k, v6, 10)
		crossed := newTally(t, f.leaves[1].Host, "vx10")
		answers := newTally(t, f.leaves[0].hosts[10], "eth0")
		asked, answered := 0, 0
		ask := func(crosses bool) {
			t.Helper()
			question := f.question(t)
			check(t, f.leaves[0].hosts[10].SendFrame("eth0", question))
			if crosses {
				asked++
			}
			answered++
			answers.await(t, answered, f.isAnswer(t))
			crossed.await(t, asked, func(got lab.Frame) bool { return bytes.Equal(got.Data, question) })
		}
		ask(true)
		port := must(f.leaves[0].Netlink().LinkByName("vx10"))(t)
		check(t, f.leaves[0].Netlink().LinkSetBrNeighSuppress(port, true))
		ask(false)
		ask(false)
		f.changeNeighbour(t, 10, false)
		ask(true)
		f.changeNeighbour(t, 10, true)
		ask(false)
		check(t, f.leaves[0].Netlink().LinkSetBrNeighSuppress(port, false))
		ask(true)
	})
}

// question is a frame in which the host in segment 10 of leaf0 asks for that of
// leaf1, by ARP or by neighbour discovery.
func (f *fabric) question(t *testing.T) []byte {
	t.Helper()
	me, own, addr := macOf(t, f.leaves[0].hosts[10], "eth0"), f.address(10, 101).Addr(), f.address(10, 102).Addr()
	if !f.v6 {
		return serialized(
			t,
			&layers.Ethernet{SrcMAC: me, DstMAC: broadcast, EthernetType: layers.EthernetTypeARP},
			&layers.ARP{
				AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
				SourceHwAddress: me, SourceProtAddress: own.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: addr.AsSlice(),
			},
		)
	}
	a := addr.As16()
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(group[13:], a[13:])
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: own.AsSlice(), DstIP: group[:]}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	check(t, icmp.SetNetworkLayerForChecksum(ip))
	return serialized(
		t,
		&layers.Ethernet{SrcMAC: me, DstMAC: net.HardwareAddr{0x33, 0x33, 0xff, a[13], a[14], a[15]}, EthernetType: layers.EthernetTypeIPv6}, ip, icmp,
		&layers.ICMPv6NeighborSolicitation{TargetAddress: addr.AsSlice(), Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: me}}},
	)
}

// isAnswer tells an answer to such a question.
func (f *fabric) isAnswer(t *testing.T) func(lab.Frame) bool {
	t.Helper()
	owner, addr := macOf(t, f.leaves[1].hosts[10], "eth0"), f.address(10, 102).Addr()
	return func(got lab.Frame) bool {
		p := got.Packet()
		if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
			return arp.Operation == layers.ARPReply && bytes.Equal(arp.SourceProtAddress, addr.AsSlice()) && bytes.Equal(arp.SourceHwAddress, owner)
		}
		na, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
		return ok && bytes.Equal(na.TargetAddress, addr.AsSlice()) && bytes.Contains(got.Data, owner)
	}
}
