package conformance

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// The cases of VPP's test/test_vxlan.py and test/test_vxlan6.py. There a
// program forges and dissects what passes the underlay; here the peer does, a
// host without any link.

// vppVNI is that of the scripts for single tunnels.
const vppVNI = 0x12345

// vpp is a link, and the peer's view of it.
type vpp struct {
	*alone
	port    uint16
	arrived *tally
	socket  *net.UDPConn // of the peer, on the port
}

// newVPP makes the link: VNI 0x12345, the peer its remote.
func newVPP(t *testing.T, k kind, v variant, adjust func(*spec)) *vpp {
	t.Helper()
	a := newAlone(t, k, v.sw.Addr().Is6(), func(s *spec) {
		s.ID, s.Port, s.Remote = vppVNI, v.port, peerAddr(s.Local)
		if adjust != nil {
			adjust(s)
		}
	})
	// Without a socket there the peer would answer by ICMP.
	socket := listen(t, a.peer, netip.AddrPortFrom(netip.IPv6Unspecified(), v.port)) // IPv4 too
	t.Cleanup(func() { _ = socket.Close() })
	return &vpp{a, v.port, newTally(t, a.Host, a.dev), socket}
}

// peerAddr is the other end's of a pair.
func peerAddr(local netip.Addr) netip.Addr {
	if local.Is6() {
		return lab.PairB6.Addr()
	}
	return lab.PairB4.Addr()
}

// vppVariants are the two scripts, and both with a port of their own.
var vppVariants = []variant{{underlay4, 4789}, {underlay6, 4789}, {underlay4, 1111}, {underlay6, 1111}}

// onVPP runs one body for each kind and variant.
func onVPP(t *testing.T, body func(t *testing.T, v *vpp)) {
	t.Helper()
	eachVariant(t, vppVariants, func(t *testing.T, k kind, v variant) { body(t, newVPP(t, k, v, nil)) })
}

// frame is one with an IPv4 UDP packet of a payload's size in it.
func (v *vpp) frame(t *testing.T, size int) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: []byte{4, 3, 2, 1}, DstIP: []byte{1, 2, 3, 4}}
	udp := &layers.UDP{SrcPort: 20000, DstPort: 10000}
	check(t, udp.SetNetworkLayerForChecksum(ip))
	eth := &layers.Ethernet{SrcMAC: mac("00:00:00:00:00:01"), DstMAC: mac("00:00:00:00:00:02"), EthernetType: layers.EthernetTypeIPv4}
	return serialized(t, eth, ip, udp, gopacket.Payload(make([]byte, size)))
}

// receive has the link get a frame from an outer address.
func (v *vpp) receive(t *testing.T, from netip.Addr, vni uint32, frame []byte) {
	t.Helper()
	to := netip.AddrPortFrom(v.local, v.port)
	check(t, v.peer.SendUDP(netip.AddrPortFrom(from, 23456), to, vxlan(vni, frame), lab.DatagramOptions{}))
}

// encapsulated sends a frame and returns the one datagram that it becomes.
func (v *vpp) encapsulated(t *testing.T, frame []byte) *dissect.Encapsulated {
	t.Helper()
	check(t, v.SendFrame(v.dev, frame))
	f, err := v.wire.Wait(waitLimit, func(f lab.Frame) bool { return !f.Outgoing && carries(frame)(f) })
	check(t, err)
	e, ok := dissect.DecodeVXLAN(f, v.port)
	if !ok {
		t.Fatalf("not a datagram to port %d: % x", v.port, f.Data)
	}
	return e
}

// test_decap: what comes in the tunnel comes out of the device, byte for byte.
func TestVPPDecap(t *testing.T) {
	onVPP(t, func(t *testing.T, v *vpp) {
		frame := v.frame(t, 100)
		v.receive(t, peerAddr(v.local), vppVNI, frame)
		v.arrived.await(t, 1, func(f lab.Frame) bool { return slices.Equal(f.Data, frame) })
	})
}

// test_encap: the I flag and no other, the VNI, no reserved bit, a checksum
// that is right, the two ends' addresses and the tunnel's port.
func TestVPPEncap(t *testing.T) {
	onVPP(t, func(t *testing.T, v *vpp) {
		frame := v.frame(t, 100)
		e := v.encapsulated(t, frame)
		if want := []byte{8, 0, 0, 0, 0x01, 0x23, 0x45, 0}; !slices.Equal(e.Header, want) {
			t.Errorf("header % x, want % x", e.Header, want)
		}
		if sourceOf(e) != v.local || outerDestination(e) != peerAddr(v.local) {
			t.Errorf("from %v to %v, want %v to %v", sourceOf(e), outerDestination(e), v.local, peerAddr(v.local))
		}
		if e.UDP.Checksum == 0 {
			t.Error("no UDP checksum, which is the default of the kernel's device")
		}
		check(t, dissect.VerifyChecksums(e.Outer))
		if !slices.Equal(e.Inner.Data(), frame) {
			t.Errorf("the frame became % x", e.Inner.Data())
		}
	})
}

// test_encap_big_packet: over IPv4 a frame that does not fit crosses in two
// fragments that make one packet again. Over IPv6 none may be made, and it is
// lost; the script for that sends fragments inside, which fit.
func TestVPPEncapBigPacket(t *testing.T) {
	onVPP(t, func(t *testing.T, v *vpp) {
		big, before := v.frame(t, 1450), v.figures(t)
		if v.v6 {
			check(t, v.SendFrame(v.dev, big))
			v.awaitFigure(t, "lost", func(f figures) uint64 { return f.txErrors + f.txDropped }, before.txErrors+before.txDropped+1)
			return
		}
		check(t, v.SendFrame(v.dev, big))
		if got, want := read(t, v.socket), vxlan(vppVNI, big); !slices.Equal(got, want) {
			t.Errorf("the fragments make %d bytes, want %d", len(got), len(want))
		}
		check(t, lab.Eventually(waitLimit, func() error {
			if n := fragmentsOf(v.wire.Frames()); n != 2 {
				return fmt.Errorf("%d fragments on the wire, want 2", n)
			}
			return nil
		}))
	})
}

// fragmentsOf counts those of IPv4 packets.
func fragmentsOf(frames []lab.Frame) (n int) {
	for _, f := range frames {
		ip, ok := dissect.Packet(f).Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if ok && (ip.FragOffset > 0 || ip.Flags&layers.IPv4MoreFragments != 0) {
			n++
		}
	}
	return n
}

// test_encap_fragmented_packet: fragments of an inner packet are frames like
// any other.
func TestVPPEncapFragmentedPacket(t *testing.T) {
	onVPP(t, func(t *testing.T, v *vpp) {
		whole := v.frame(t, 1200)
		for _, at := range []int{0, 400, 800} {
			fragment := slices.Concat(whole[:34], whole[34+at:34+at+400])
			ip := fragment[14:34]
			binary.BigEndian.PutUint16(ip[2:], 20+400)
			binary.BigEndian.PutUint16(ip[6:], 0x2000|uint16(at/8))
			ip[10], ip[11] = 0, 0
			e := v.encapsulated(t, fragment)
			if !slices.Equal(e.Inner.Data(), fragment) {
				t.Errorf("the fragment at %d became % x", at, e.Inner.Data())
			}
		}
	})
}

// vppTunnels is how many remotes a flood has in the scripts.
const vppTunnels = 10

// test_ucast_flood: one frame reaches each of ten tunnels once.
func TestVPPUnicastFlood(t *testing.T) {
	eachVariant(t, vppVariants, func(t *testing.T, k kind, vt variant) {
		v := newVPP(t, k, vt, func(s *spec) { s.Remote = netip.Addr{} })
		want := map[netip.Addr]int{}
		for i := range vppTunnels {
			to := v.other(t, 1+i)
			v.fdb(t, "append", zeroMAC, "dst", to)
			want[netip.MustParseAddr(to)] = 1
		}
		v.wantCopies(t, want)
	})
}

// wantCopies sends a frame and says where how often it has to go.
func (v *vpp) wantCopies(t *testing.T, want map[netip.Addr]int) {
	t.Helper()
	frame := v.frame(t, 100)
	check(t, v.SendFrame(v.dev, frame))
	check(t, lab.Eventually(waitLimit, func() error {
		got := map[netip.Addr]int{}
		for _, e := range dissect.VXLANs(v.wire.Frames(), v.port) {
			if slices.Equal(e.Inner.Data(), frame) {
				got[outerDestination(e)]++
			}
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("copies went to %v, want %v", got, want)
		}
		return nil
	}))
}

// vppGroup is the group of the scripts.
func vppGroup(v6 bool) netip.Addr {
	if v6 {
		return netip.MustParseAddr("ff0e::1")
	}
	return netip.MustParseAddr("239.1.1.1")
}

// test_mcast_flood: one copy goes to the group.
func TestVPPMulticastFlood(t *testing.T) {
	eachVariant(t, vppVariants, func(t *testing.T, k kind, vt variant) {
		v := newVPP(t, k, vt, func(s *spec) { s.Remote, s.Dev = vppGroup(s.Local.Is6()), "eth0" })
		v.wantCopies(t, map[netip.Addr]int{vppGroup(v.v6): 1})
	})
}

// test_mcast_rcv: of twenty sources that send to the group, ten are configured.
// There a source is, as a tunnel; weft's guard is allow-sources. The kernel's
// device has none, and hears all.
func TestVPPMulticastReceive(t *testing.T) {
	eachVariant(t, vppVariants, func(t *testing.T, k kind, vt variant) {
		v := newVPP(t, k, vt, func(s *spec) {
			s.Remote, s.Dev = vppGroup(s.Local.Is6()), "eth0"
			s.Words = []string{"allow-sources"}
			for i := range vppTunnels {
				s.Words = append(s.Words, vppSource(s.Local.Is6(), i).String())
			}
		})
		awaitMembers(t, v.Host, vppGroup(v.v6), true)
		to := netip.AddrPortFrom(vppGroup(v.v6), v.port)
		for i := range 2 * vppTunnels {
			station := ether(broadcast, mac(fmt.Sprintf("02:00:00:00:00:%02x", i)), typeLocal, make([]byte, 46))
			from := netip.AddrPortFrom(vppSource(v.v6, i), 23456)
			check(t, v.peer.SendFrame("eth0", datagram(t, groupMAC(to.Addr()), from, to, vxlan(vppVNI, station))))
		}
		want, refused := 2*vppTunnels, map[string]uint64{}
		if k == user {
			want, refused = vppTunnels, map[string]uint64{"source_not_allowed": vppTunnels}
		}
		v.arrived.await(t, want, func(f lab.Frame) bool { return binary.BigEndian.Uint16(f.Data[12:]) == typeLocal })
		check(t, lab.Eventually(waitLimit, func() error {
			if got := v.dropped(t); !maps.Equal(got, refused) {
				return fmt.Errorf("dropped %v, want %v", got, refused)
			}
			return nil
		}))
	})
}

// vppSource is a VTEP of which there is none.
func vppSource(v6 bool, i int) netip.Addr {
	if v6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:211:55::%x", 0x100+i))
	}
	return netip.AddrFrom4([4]byte{10, 211, 55, byte(100 + i)})
}
