package routetable

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"
)

// What is fetched is the route's place in a block, mostly its slot in a hash
// table, and the word of the filter where there is one.
func TestRoutesPrefetch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, routes := range map[string]*Routes{
		"block":      routed(t, nodePrefixes(100_000, false)),
		"block6":     routed(t, nodePrefixes(100_000, true)),
		"hash table": routed(t, slash24s(mixedPrefixes(50_000, false))),
		"filter":     routed(t, mixedPrefixes(100_000, false)),
	} {
		there, n := 0, 0
		for p, want := range routes.All() {
			a := hostIn(r, p)
			routes.Prefetch(a.AsSlice())
			f, k := routes.family(a), addressKey(a)
			first, second := f.likely(k)
			if first == nil {
				t.Fatalf("%s: nothing is fetched for %v", name, p)
			}
			if n++; holds(f.lengths.Load(), k, first, want) || holds(f.lengths.Load(), k, second, want) {
				there++
			}
		}
		address := make([]byte, 4)
		wantNoAllocs(t, "Prefetch", func() { routes.Prefetch(address) })
		if there < n*4/5 {
			t.Errorf("%s: %d of %d routes are where they are said to be", name, there, n)
		}
	}
}

// holds reports whether a lookup of k that looks at a place first finds a route
// there, or what leads to it.
func holds(t *routeLengths, k routeKey, at unsafe.Pointer, want *Route) bool {
	if t.filter != nil {
		return at == unsafe.Pointer(&t.filter.words[t.filter.word(k)])
	}
	level := t.upTo64[bits.Len64(t.present)-1]
	if level.block != nil {
		return (*atomic.Pointer[Route])(at).Load() == want
	}
	slot := (*routeSlot)(at)
	return slot.high == k.hi&level.maskHi && slot.route.Load() == want
}

// slash24s are the prefixes of one length, which stand in one table without a
// filter.
func slash24s(all []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(all, func(p netip.Prefix) bool { return p.Bits() != 24 })
}

// There is nothing to fetch in an empty table, of a route to all or to a single
// host of IPv6, nor beside a block, and small tables are left alone.
func TestRoutesPrefetchNothing(t *testing.T) {
	routes := NewRoutes()
	for _, f := range []*routeFamily{&routes.v4, &routes.v6} {
		if first, _ := f.likely(routeKey{hi: 10 << 56}); first != nil {
			t.Error("there is something to fetch in an empty table")
		}
	}
	for _, p := range []string{"::/0", "fd00::1/128"} {
		routes := NewRoutes()
		wantError(t, routes.Add(netip.MustParsePrefix(p), Route{Remote: remote(1)}), nil)
		if first, _ := routes.v6.likely(routeKey{hi: 0xfd << 56, lo: 1}); first != nil {
			t.Errorf("%s: there is something to fetch where no length is up to 64", p)
		}
	}
	all := nodePrefixes(20_000, false)
	for i, p := range all {
		wantError(t, routes.Add(p, Route{Remote: remote(1)}), nil)
		if large := i >= 1<<14-1; routes.large.Load() != large {
			t.Fatalf("%d routes: large %v", i+1, !large)
		}
	}
	for _, address := range [][]byte{nil, {192, 0, 2, 1}, make([]byte, 16)} {
		routes.Prefetch(address)
	}
	if first, _ := routes.v4.likely(routeKey{hi: 192 << 56}); first != nil {
		t.Error("there is something to fetch beside a block")
	}
	for _, p := range all[:10_000] {
		wantError(t, routes.Delete(p, nil), nil)
	}
	if routes.large.Load() {
		t.Errorf("%d routes are many", routes.Len())
	}
}
