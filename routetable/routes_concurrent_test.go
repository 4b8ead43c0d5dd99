package routetable

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRoutesCrowd has readers look while others add, replace and delete, so
// that tables, lengths and the filter are made anew under them all the time. A
// route that is only replaced is always there, whole and never a shorter one.
func TestRoutesCrowd(t *testing.T) {
	rounds := 30_000
	if underRace {
		rounds = 5_000
	}
	routes := NewRoutes()
	pinned := make([]netip.Prefix, 50)
	for i := range pinned {
		pinned[i], _ = netip.AddrFrom4([4]byte{10, 200, byte(i), 128}).Prefix(25 + i%8)
		if i%2 == 0 {
			pinned[i], _ = netip.AddrFrom16([16]byte{0xfd, 1, 0, byte(i), 128}).Prefix(33 + i)
		}
		wantError(t, routes.Add(pinned[i], Route{Remote: whole(i)}), nil)
	}
	var done atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 0))
			for !done.Load() && !t.Failed() {
				i := r.IntN(len(pinned))
				got := routes.Lookup(pinned[i].Addr().AsSlice())
				if got == nil || int(got.VNI)%len(pinned) != i {
					t.Errorf("%v goes to %v", pinned[i], got)
					return
				}
				checkWhole(t, got.Remote)
			}
		})
	}
	for w := range 2 {
		writers.Go(func() { churn(t, routes, pinned[w:], rounds, byte(w)) })
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	if routes.Len() != len(pinned) {
		t.Errorf("%d routes are left of %d", routes.Len(), len(pinned))
	}
}

// churn replaces every other of the pinned routes, and adds and deletes
// addresses of its own around them.
func churn(t *testing.T, routes *Routes, pinned []netip.Prefix, rounds int, own byte) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var mine []netip.Prefix
	for i := range rounds {
		at := r.IntN(len(pinned)/2) * 2
		if err := routes.Replace(pinned[at], Route{Remote: whole((at + int(own)) + 50*r.IntN(20))}); err != nil {
			t.Error(err)
		}
		if growing := i/500%2 == 0; !growing && len(mine) > 0 {
			if err := routes.Delete(mine[len(mine)-1], nil); err != nil {
				t.Error(err)
			}
			mine = mine[:len(mine)-1]
			continue
		}
		p, _ := netip.AddrFrom4([4]byte{10, 100 + own, byte(r.Uint32()), byte(r.Uint32())}).Prefix(16 + r.IntN(17))
		if own == 1 {
			p, _ = netip.AddrFrom16([16]byte{0xfd, 2, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}).Prefix(16 + r.IntN(80))
		}
		if routes.Add(p, route(1)) == nil {
			mine = append(mine, p)
		}
	}
	for _, p := range mine {
		if err := routes.Delete(p, nil); err != nil {
			t.Error(err)
		}
	}
}
