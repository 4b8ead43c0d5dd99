package routetable

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// Whatever changes where frames go counts, and nothing else does.
func TestFDBChanges(t *testing.T) {
	var changes atomic.Uint64
	fdb := NewFDB(Options{Changes: &changes, Learned: Remote{Port: 4789, VNI: 5}, Ageing: time.Second})
	mac, other := MAC{2, 1}, MAC{2, 2}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	remote := Remote{Addr: a, Port: 4789, VNI: 5}
	for _, step := range []struct {
		name   string
		do     func()
		counts bool
	}{
		{"learn", func() { fdb.Learn(mac, a, 0, 0) }, false},
		{"hear again", func() { fdb.Learn(mac, a, 0, 1) }, false},
		{"look up", func() { fdb.Lookup(mac, 1) }, false},
		{"move", func() { fdb.Learn(mac, b, 0, 1) }, true},
		{"add", func() { wantError(t, fdb.Add(other, remote, Static, 0, 1), nil) }, true},
		{"add again", func() { wantError(t, fdb.Add(other, remote, Static, 0, 1), ErrExists) }, false},
		{"replace by the same", func() { wantError(t, fdb.Replace(other, remote, Static, 0, 1), nil) }, false},
		{"replace", func() { wantError(t, fdb.Replace(other, Remote{Addr: b}, Static, 0, 1), nil) }, true},
		{"delete", func() { wantError(t, fdb.Delete(other, nil), nil) }, true},
		{"learn, with no default", func() { fdb.Learn(MAC{2, 3}, a, 0, 1) }, false},
		{"append a default", func() { wantError(t, fdb.Append(MAC{}, remote, Permanent, 0, 1), nil) }, true},
		{"learn behind the default", func() { fdb.Learn(MAC{2, 4}, a, 0, 1) }, false},
		{"learn elsewhere", func() { fdb.Learn(MAC{2, 5}, b, 0, 1) }, true},
		{"append another", func() { wantError(t, fdb.Append(MAC{}, Remote{Addr: b}, Permanent, 0, 1), nil) }, true},
		{"learn, with two defaults", func() { fdb.Learn(MAC{2, 6}, b, 0, 1) }, false},
		{"delete one", func() { wantError(t, fdb.Delete(MAC{}, &remote), nil) }, true},
		{"sweep too early", func() { fdb.Sweep(1) }, false},
		{"sweep", func() { fdb.Sweep(10 * TicksPerSecond) }, true},
		{"flush", func() { fdb.Flush(Filter{}) }, true},
		{"flush nothing", func() { fdb.Flush(Filter{}) }, false},
	} {
		before := changes.Load()
		step.do()
		if counted := changes.Load() != before; counted != step.counts {
			t.Errorf("%s counts: %v", step.name, counted)
		}
	}
}
