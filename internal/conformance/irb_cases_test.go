package conformance

import (
	"fmt"
	"maps"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
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
	for _, e := range dissect.VXLANs(frames, 4789) {
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
	check(t, f.leaves[0].DelNeighbour(fmt.Sprintf("br%d", segment), f.address(segment, 102).Addr()))
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
