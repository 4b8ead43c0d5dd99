package lantest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/flannel/backend/userlink"
	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/routetable"
)

// TestBatch: what the daemon refuses of a batch is told by its place, and keeps
// nothing else of it from being done.
func TestBatch(t *testing.T) {
	lab.NeedTUN(t)
	h := lan(t, "h1")[0]
	h.agent(seed002, vxlan.User, subnet(seed002, "21"))
	changes := make([]dataplane.FDBChange, userlink.Batch)
	for i := range changes {
		changes[i] = dataplane.FDBChange{Op: dataplane.FDBReplace, MAC: routetable.MAC{2, 0, 0, 0, 5, byte(i)}, Dst: addr("10.4.7.99")}
	}
	bad := []int{0, 7, 8, userlink.Batch - 1}
	for _, i := range bad {
		changes[i].Dst = addr("fd00::1") // not of the link's underlay
	}
	var failed []int
	check(t, h.Do(func() error {
		h.daemon().ChangeFDB(t.Context(), "flannel.1", changes, func(i int, _ error) { failed = append(failed, i) })
		return nil
	}))
	if !slices.Equal(failed, bad) {
		t.Errorf("refused are %v, want %v", failed, bad)
	}
	if n := len(h.fdb("flannel.1")); n != userlink.Batch-len(bad) {
		t.Errorf("%d entries, want %d", n, userlink.Batch-len(bad))
	}
	failed = nil
	check(t, h.Do(func() error {
		h.daemon().ChangeFDB(t.Context(), "none", changes[:3], func(i int, err error) {
			failed = append(failed, i)
			if err == nil {
				t.Error(fmt.Errorf("change %d of no link has no error", i))
			}
		})
		return nil
	}))
	if len(failed) != 3 {
		t.Errorf("refused are %v, want all three", failed)
	}
}
