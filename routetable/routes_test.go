package routetable

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func route(n int) Route { return Route{Remote: whole(n), MAC: MAC{2, byte(n)}} }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func wantRoute(t *testing.T, routes *Routes, addr, p string, want *Route) {
	t.Helper()
	a := netip.MustParseAddr(addr)
	got := routes.Lookup(a.AsSlice())
	if (got == nil) != (want == nil) || got != nil && *got != *want {
		t.Errorf("%s goes to %v, want %v", addr, got, want)
	}
	found, r := routes.Find(a)
	if r != got || got != nil && found != prefix(p) {
		t.Errorf("%s is found in %v with %v, want %s", addr, found, r, p)
	}
}

func TestRoutesLongestPrefix(t *testing.T) {
	routes := NewRoutes()
	wantRoute(t, routes, "10.1.2.3", "", nil)
	wantRoute(t, routes, "fd00::1", "", nil)
	if r := routes.Any(); r != nil {
		t.Errorf("an empty table has a route: %v", r)
	}
	all := []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "::/0", "fd00::/8", "fd00:1::/32", "fd00:1:2:3::/64", "fd00:1:2:3::8000/113", "fd00:1:2:3::8001/128"}
	for i, p := range all {
		wantError(t, routes.Add(prefix(p), route(i)), nil)
	}
	for addr, i := range map[string]int{
		"11.0.0.1": 0, "10.2.0.1": 1, "10.1.3.1": 2, "10.1.2.4": 3, "10.1.2.3": 4,
		"2001:db8::1": 5, "fd01::": 6, "fd00:1::": 7, "fd00:1:2:3::7fff": 8, "fd00:1:2:3::ffff": 9, "fd00:1:2:3::8001": 10,
		"::ffff:10.1.2.3": 5, // an IPv6 address
	} {
		want := route(i)
		wantRoute(t, routes, addr, all[i], &want)
	}
	wantError(t, routes.Delete(prefix("10.1.2.0/24"), nil), nil)
	wantError(t, routes.Delete(prefix("::/0"), nil), nil)
	want := route(2)
	if r := routes.Any(); r == nil || r.MAC[0] != 2 || r.MAC[1] == 3 {
		t.Errorf("any route is %v", r)
	}
	wantRoute(t, routes, "10.1.2.4", "10.1.0.0/16", &want)
	wantRoute(t, routes, "2001:db8::1", "", nil)
}

func TestRoutesErrors(t *testing.T) {
	routes := NewRoutes()
	p := prefix("10.1.2.0/24")
	wantError(t, routes.Delete(p, nil), ErrRouteNotFound)
	wantError(t, routes.Add(p, route(1)), nil)
	wantError(t, routes.Add(p, route(2)), ErrRouteExists)
	wantError(t, routes.Delete(prefix("10.1.2.0/25"), nil), ErrRouteNotFound)
	wantError(t, routes.Delete(p, func(r *Route) bool { return *r == route(2) }), ErrRouteNotFound)
	one := route(1)
	wantRoute(t, routes, "10.1.2.3", "10.1.2.0/24", &one)
	wantError(t, routes.Replace(p, route(2)), nil)
	wantError(t, routes.Delete(p, func(r *Route) bool { return *r == route(2) }), nil)
	wantError(t, routes.Replace(p, route(3)), nil)
	for _, bad := range []netip.Prefix{{}, netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("fd00::1/64"), netip.MustParsePrefix("::ffff:10.0.0.0/104")} {
		wantError(t, routes.Add(bad, route(1)), ErrPrefix)
		wantError(t, routes.Replace(bad, route(1)), ErrPrefix)
		wantError(t, routes.Delete(bad, nil), ErrPrefix)
	}
	if routes.Len() != 1 {
		t.Errorf("%d routes", routes.Len())
	}
	if r := routes.Lookup(nil); r != nil {
		t.Errorf("nothing goes to %v", r)
	}
	if _, r := routes.Find(netip.Addr{}); r != nil {
		t.Errorf("no address goes to %v", r)
	}
}

// naiveRoutes is the model: it looks at every prefix.
type naiveRoutes map[netip.Prefix]Route

func (m naiveRoutes) lookup(a netip.Addr) (best netip.Prefix, r *Route) {
	for p, have := range m {
		if p.Contains(a) && (r == nil || p.Bits() > best.Bits()) {
			best, r = p, &have
		}
	}
	return best, r
}

func (m naiveRoutes) sorted() []netip.Prefix {
	return slices.SortedFunc(maps.Keys(m), func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 { // IPv4 first
			return c
		}
		return a.Bits() - b.Bits()
	})
}

// anyPrefix draws from few addresses, so that prefixes lie in one another.
func anyPrefix(r *rand.Rand) netip.Prefix {
	pick := func(n int) byte { return [4]byte{0, 1, 0x80, 0xff}[r.IntN(n)] }
	if r.IntN(2) == 0 {
		p, _ := netip.AddrFrom4([4]byte{10 | pick(3), pick(2), pick(4), pick(4)}).Prefix(r.IntN(33))
		return p
	}
	a := [16]byte{0xfd | pick(2), 0, pick(2), 0, 0, 0, pick(4), pick(4), pick(2), 15: pick(4)}
	p, _ := netip.AddrFrom16(a).Prefix(r.IntN(129))
	return p
}

// TestRoutesAgainstModel does the same random things to a table and to the
// model. Few prefixes in one run, so that lengths come and go; many in the next,
// so that tables grow, and there is a filter.
func TestRoutesAgainstModel(t *testing.T) {
	seeds := uint64(40)
	if underRace {
		seeds = 8
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		routes, model := NewRoutes(), naiveRoutes{}
		most := []int{3, 30, 300}[seed%3]
		for range 1500 {
			p := anyPrefix(r)
			if len(model) >= most { // empty it by half
				p = slices.Collect(maps.Keys(model))[0]
			}
			step(t, r, routes, model, p, len(model) >= most)
			a := hostIn(r, anyPrefix(r))
			_, want := model.lookup(a)
			best, _ := model.lookup(a)
			wantRoute(t, routes, a.String(), best.String(), want)
			if t.Failed() {
				t.Fatalf("seed %d: %v", seed, model.sorted())
			}
		}
		compareAll(t, routes, model)
	}
}

func step(t *testing.T, r *rand.Rand, routes *Routes, model naiveRoutes, p netip.Prefix, remove bool) {
	t.Helper()
	had, n := model[p], route(r.IntN(200))
	_, exists := model[p]
	switch {
	case remove || r.IntN(3) == 0:
		want := map[bool]error{false: ErrRouteNotFound}[exists]
		wantError(t, routes.Delete(p, func(h *Route) bool { return *h == had }), want)
		delete(model, p)
	case r.IntN(2) == 0:
		wantError(t, routes.Replace(p, n), nil)
		model[p] = n
	default:
		wantError(t, routes.Add(p, n), map[bool]error{true: ErrRouteExists}[exists])
		if !exists {
			model[p] = n
		}
	}
	if routes.Len() != len(model) {
		t.Errorf("%d routes, want %d", routes.Len(), len(model))
	}
}

func compareAll(t *testing.T, routes *Routes, model naiveRoutes) {
	t.Helper()
	want := model.sorted()
	i := 0
	for p, r := range routes.All() {
		if i >= len(want) || p != want[i] || *r != model[p] {
			t.Fatalf("route %d is %v to %v", i, p, r)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d routes are listed of %d", i, len(want))
	}
	for range routes.All() {
		break // must not go on
	}
}

func TestRoutesLookupDoesNotAllocate(t *testing.T) {
	routes := routed(t, append(mixedPrefixes(1000, false), mixedPrefixes(1000, true)...))
	for _, a := range []string{"10.1.2.3", "fd00::1", "2001:db8::1"} {
		addr := netip.MustParseAddr(a).AsSlice()
		wantNoAllocs(t, "Lookup of "+a, func() { routes.Lookup(addr) })
	}
}

// TestRoutesMany has tables grow and shrink by three orders of magnitude, with
// a filter over many lengths, and finds every route meanwhile.
func TestRoutesMany(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		n := map[bool]int{false: 1_000_000, true: 200_000}[ipv6]
		if underRace {
			n = 30_000
		}
		all := mixedPrefixes(n, ipv6)
		before := heap()
		routes := routed(t, all)
		t.Logf("%d routes take %.1f bytes each", n, float64(heap()-before)/float64(n))
		find := func(all []netip.Prefix) {
			t.Helper()
			for _, p := range all {
				last := lastOf(p)
				for _, a := range []netip.Addr{p.Addr(), last} {
					if best, r := routes.Find(a); best.Bits() < p.Bits() || routes.Lookup(a.AsSlice()) != r {
						t.Fatalf("%v of %v is found in %v, and goes to %v", a, p, best, routes.Lookup(a.AsSlice()))
					}
				}
			}
		}
		find(all[:n/5])
		for _, p := range all[n/1000:] {
			wantError(t, routes.Delete(p, nil), nil)
		}
		find(all[:n/1000])
		if left := heap() - before; !underRace && left > 8<<20 {
			t.Errorf("%d bytes are left for %d routes", left, routes.Len())
		}
		for _, p := range all[:n/1000] {
			wantError(t, routes.Delete(p, nil), nil)
		}
		if routes.Len() != 0 || routes.Lookup(all[0].Addr().AsSlice()) != nil {
			t.Errorf("%d routes are left", routes.Len())
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
