package conformance

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// The cases of q_in_vni.sh, q_in_vni_ipv6.sh and dual_vxlan_bridge.sh. The
// kernel at hand has neither VLAN devices nor bridges that look at tags, so
// that the hosts' tagged frames are made by hand, with both tags where the
// script's bridge would put the outer one on.

// Tags as they stand in a frame: of a service provider (802.1ad) and of a
// customer (802.1Q).
var (
	tagS100 = []byte{0x88, 0xa8, 0, 100}
	tagC10  = []byte{0x81, 0, 0, 10}
	tagC20  = []byte{0x81, 0, 0, 20}
)

// withTags puts tags behind the addresses of a frame.
func withTags(frame []byte, tags ...[]byte) []byte {
	return slices.Concat(frame[:12], slices.Concat(tags...), frame[12:])
}

// wantWhole sends a frame from a host and wants it, every byte of it, at some
// places; and on the wire between, if it got there, once for each in a VNI.
func (s *sites) wantWhole(t *testing.T, from *lab.Host, frame []byte, at ...*tally) {
	t.Helper()
	check(t, from.SendFrame("eth0", frame))
	for _, c := range at {
		c.await(t, 1, func(f lab.Frame) bool { return bytes.Equal(f.Data, frame) })
	}
}

// q_in_vni.sh, q_in_vni_ipv6.sh: what a host sends with tags arrives with the
// same at the local host and at both sites, in either direction, and both tags
// are inside the VNI.
func TestQInVNI(t *testing.T) {
	eachVariant(t, variants[:2], func(t *testing.T, k kind, v variant) {
		s, g := bridge1d(t, k, v.underlay, v.port)
		wire := lab.TestCapture(t, s.router, "port0")
		back := newTally(t, g.h1, "eth0")
		v6 := v.underlay.sw.Addr().Is6()
		var sent [][]byte
		for i, tags := range [][][]byte{{tagS100, tagC10}, {tagS100, tagC20}, {tagC10}, {tagS100}, {tagC10, tagC20}} {
			id := uint16(600 + i)
			from := func(h *lab.Host, dst net.HardwareAddr) []byte {
				e := echo{srcMAC: macOf(t, h, "eth0"), dstMAC: dst, src: g.net.address(v6, 1), dst: s.stranger(g), id: id}
				return withTags(e.frame(t), tags...)
			}
			out, in := from(g.h1, broadcast), from(g.pods[0], macOf(t, g.h1, "eth0"))
			s.wantWhole(t, g.h1, out, g.tallies[:]...)
			s.wantWhole(t, g.pods[0], in, back)
			sent = append(sent, out)
		}
		for _, frame := range sent {
			check(t, lab.Eventually(waitLimit, func() error { return wantInVNI(wire.Frames(), v.port, g.net.vni, frame, 2) }))
		}
	})
}

// wantInVNI returns an error unless a frame crossed so many times, always in
// one VNI.
func wantInVNI(frames []lab.Frame, port uint16, vni uint32, frame []byte, n int) error {
	seen := 0
	for _, e := range dissect.VXLANs(frames, port) {
		if !bytes.Equal(e.Inner.Data(), frame) {
			continue
		}
		if seen++; e.VXLAN.VNI != vni {
			return fmt.Errorf("a frame crossed in VNI %d, want %d", e.VXLAN.VNI, vni)
		}
	}
	if seen != n {
		return fmt.Errorf("a frame crossed %d times, want %d", seen, n)
	}
	return nil
}

// dual_vxlan_bridge.sh: two links on one port, each in its bridge, one with
// frames of two tags and the other of one.
func TestDualVXLANBridge(t *testing.T) {
	onBridge1q(t, variants[:2], func(t *testing.T, s *sites) {
		one, other := s.segments[0], s.segments[1]
		check(t, one.h1.Ping(one.net.address(false, 3), lab.PingOptions{Count: 2}).Lost())
		check(t, other.h2.Ping(other.net.address(false, 4), lab.PingOptions{Count: 2}).Lost())
		for _, c := range []struct {
			*segment
			id   uint16
			tags [][]byte
		}{{one, 1, [][]byte{tagS100, tagC10}}, {other, 2, [][]byte{tagC20}}} {
			e := echo{srcMAC: macOf(t, c.h1, "eth0"), dstMAC: broadcast, src: c.net.address(false, 1), dst: c.net.address(false, 9), id: c.id}
			s.wantWhole(t, c.h1, withTags(e.frame(t), c.tags...), c.tallies[:]...)
		}
	})
}

// Two links in one bridge join what is behind them: hosts of two VNIs, at two
// sites, reach each other through the switch, and no frame comes back to where
// it is from.
func TestDualVXLANBridgeChained(t *testing.T) {
	onBridge1q(t, variants[:2], func(t *testing.T, s *sites) {
		one, other := s.segments[0], s.segments[1]
		check(t, s.sw.SetNoMaster(other.dev))
		check(t, s.sw.SetMaster(one.bridge, other.dev))
		pod1, pod2 := one.pods[0], other.pods[1]
		addr := netip.MustParsePrefix("198.51.100.13/28")
		check(t, pod1.AddAddr("eth0", addr))
		check(t, pod1.Ping(other.net.address(false, 4), lab.PingOptions{Count: 3, Source: addr.Addr()}).Lost())
		must(lab.Transfer(pod1, pod2, netip.AddrPortFrom(other.net.address(false, 4), 0), 1<<20))(t)
		s.fences.pass(t, pod1, "eth0", other.tallies[1], other.tallies[2], one.tallies[0])
		e := echo{srcMAC: macOf(t, pod1, "eth0"), dstMAC: broadcast, src: addr.Addr(), dst: other.net.address(false, 9), id: 7}
		s.wantWhole(t, pod1, e.frame(t), other.tallies[2])
		s.fences.pass(t, pod1, "eth0", other.tallies[1], other.tallies[2], one.tallies[0])
		if n := one.tallies[1].count(isEcho(7)); n != 0 {
			t.Errorf("a frame came back %d times to the site that it is from", n)
		}
	})
}
