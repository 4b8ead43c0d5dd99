package routetable

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRoutesBlock adds, replaces and deletes the subnets of a network, and others far from
// them now and then, so that they stand in a block, in a hash table and in a block again:
// the table says what a map does, of addresses in and beside them.
func TestRoutesBlock(t *testing.T) {
	for _, c := range []struct {
		name      string
		of        netip.Prefix
		bits, far int // far: a bit that lies outside of the network
	}{
		{"IPv4", netip.MustParsePrefix("10.32.0.0/11"), 24, 0},
		{"single hosts", netip.MustParsePrefix("10.32.224.0/19"), 32, 1},
		{"IPv6", netip.MustParsePrefix("fd00:1024::/45"), 58, 20},
		{"half of all bits", netip.MustParsePrefix("fd00:1024:0:e000::/51"), 64, 0},
		{"the last ones", netip.MustParsePrefix("255.224.0.0/11"), 24, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &blockModel{T: t, r: rand.New(rand.NewPCG(41, 42)), routes: NewRoutes(), want: map[netip.Prefix]Remote{}}
			size := 1 << (c.bits - c.of.Bits())
			for _, add := range []int{size / 16, size / 2, size * 3 / 4} {
				for range add {
					m.change(subnet(c.of, c.bits, m.r.IntN(size)), true)
				}
			}
			m.check(true)
			m.change(flipped(subnet(c.of, c.bits, 5), c.far), true)
			m.check(false)
			for p := range maps.Clone(m.want) {
				if m.r.IntN(40) > 0 {
					m.change(p, false)
				}
			}
			m.check(false)
			m.change(flipped(subnet(c.of, c.bits, 5), c.far), false)
			for range 2 * size {
				m.change(subnet(c.of, c.bits, m.r.IntN(size)), m.r.IntN(5) > 0)
			}
			m.check(true)
		})
	}
}

// subnet is the nth of a network.
func subnet(of netip.Prefix, bits, n int) netip.Prefix {
	b := of.Addr().AsSlice()
	for i := range bits - of.Bits() {
		at := bits - 1 - i
		b[at/8] |= byte(n>>i&1) << (7 - at%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, bits)
}

func flipped(p netip.Prefix, bit int) netip.Prefix {
	b := p.Addr().AsSlice()
	b[bit/8] ^= 0x80 >> (bit % 8)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}

// blockModel is routes of one length, and a map of the same.
type blockModel struct {
	*testing.T
	r      *rand.Rand
	routes *Routes
	want   map[netip.Prefix]Remote
}

func (m *blockModel) change(p netip.Prefix, put bool) {
	m.Helper()
	_, have := m.want[p]
	switch {
	case put && have && m.r.IntN(2) == 0:
		wantError(m.T, m.routes.Add(p, route(1)), ErrRouteExists)
	case put:
		one := route(m.r.IntN(100))
		wantError(m.T, m.routes.Replace(p, one), nil)
		m.want[p] = one.Remote
	case have:
		wantError(m.T, m.routes.Delete(p, nil), nil)
		delete(m.want, p)
	default:
		wantError(m.T, m.routes.Delete(p, nil), ErrRouteNotFound)
	}
}

// check compares all, and says whether the routes are to stand in a block.
func (m *blockModel) check(block bool) {
	m.Helper()
	n := 0
	for p, r := range m.routes.All() {
		n++
		if want, ok := m.want[p]; !ok || r.Remote != want {
			m.Fatalf("%v goes to %v, want %v", p, r, want)
		}
		if level := m.routes.family(p.Addr()).lengths.Load().level(p.Bits()); (level.block != nil) != block {
			m.Fatalf("they are in a block: %v, want %v", !block, block)
		}
		beside := flipped(p, p.Bits()-1-m.r.IntN(p.Addr().BitLen()/4))
		for _, of := range []netip.Prefix{p, beside} {
			got := m.routes.Lookup(hostIn(m.r, of).AsSlice())
			if want, ok := m.want[of]; ok != (got != nil) || ok && got.Remote != want {
				m.Fatalf("an address in %v goes to %v, want %v", of, got, want)
			}
		}
	}
	if n != len(m.want) || n != m.routes.Len() {
		m.Fatalf("%d routes of %d, want %d", n, m.routes.Len(), len(m.want))
	}
}

// TestRoutesBlockCrowd has readers look while a table becomes a block and a hash table,
// again and again: a route that stays is always there.
func TestRoutesBlockCrowd(t *testing.T) {
	routes, of := NewRoutes(), netip.MustParsePrefix("10.32.0.0/12")
	const size, stays = 1 << 12, 77
	wantError(t, routes.Add(subnet(of, 24, stays), route(1)), nil)
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			address := subnet(of, 24, stays).Addr().Next().AsSlice()
			for !done.Load() && !t.Failed() {
				if got := routes.Lookup(address); got == nil || got.Remote != route(1).Remote {
					t.Errorf("it goes to %v", got)
				}
			}
		})
	}
	for range 10 {
		for i := range size {
			_ = routes.Replace(subnet(of, 24, i), route(1))
		}
		wantError(t, routes.Add(flipped(subnet(of, 24, 0), 0), route(2)), nil) // no block any more
		for i := range size {
			if i != stays {
				wantError(t, routes.Delete(subnet(of, 24, i), nil), nil)
			}
		}
		wantError(t, routes.Delete(flipped(subnet(of, 24, 0), 0), nil), nil)
	}
	done.Store(true)
	readers.Wait()
}
