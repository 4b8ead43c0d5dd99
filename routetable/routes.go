package routetable

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Routes is a longest-prefix table, for IPv4 and IPv6: where the packets of a
// link go that carries bare IP packets. All methods may be called at any time
// from any goroutine.
//
// Lookup takes no lock and allocates nothing. Those who change routes wait for
// one another; a change is there for readers when its method returns, at a cost
// that does not depend on how many routes there are, but for the one in many
// that has a table made anew.
type Routes struct {
	// Changes, if it is not nil, counts what changes where packets go, each after it
	// is there for readers. It is set before the first use.
	Changes *atomic.Uint64

	v4, v6 routeFamily
	large  atomic.Bool // see resize

	mu   sync.Mutex
	same map[Route]*Route // what prefixes share
}

// NewRoutes returns a table without routes.
func NewRoutes() *Routes {
	t := &Routes{same: map[Route]*Route{}}
	t.v6.ipv6 = true
	return t
}

func (t *Routes) family(a netip.Addr) *routeFamily {
	if a.Is4() {
		return &t.v4
	}
	return &t.v6
}

// Lookup returns the route of the longest prefix that the address is in, or nil.
// It is shared and must not be changed. The address is 4 or 16 bytes as a packet
// has them: through a netip.Addr an IPv6 address would pass memory in halves,
// which has the processor wait for all that it has begun before.
func (t *Routes) Lookup(address []byte) *Route {
	switch len(address) {
	case 4:
		return t.v4.lookup(routeKey{hi: uint64(binary.BigEndian.Uint32(address)) << 32})
	case 16:
		return t.v6.lookup(routeKey{binary.BigEndian.Uint64(address), binary.BigEndian.Uint64(address[8:])})
	}
	return nil
}

// Find is Lookup for an address in another form, and also tells the prefix. An
// IPv4 address written as an IPv6 one is an IPv6 address.
func (t *Routes) Find(a netip.Addr) (p netip.Prefix, r *Route) {
	if !a.IsValid() {
		return p, nil
	}
	f, k := t.family(a), addressKey(a)
	for level := range f.lengths.Load().levels {
		if r := level.find(k); r != nil {
			p, _ = a.WithZone("").Prefix(level.bits)
			return p, r
		}
	}
	return p, nil
}

// Any returns one of the routes, nil if there is none.
func (t *Routes) Any() *Route {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range []*routeFamily{&t.v4, &t.v6} {
		for level := range f.lengths.Load().levels {
			for _, r := range level.all {
				return r
			}
		}
	}
	return nil
}

// Len returns how many routes there are.
func (t *Routes) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.v4.count + t.v6.count
}

// All yields all routes, IPv4 before IPv6, by address, and the shorter of two
// prefixes with one address first. They are those of the moment when it began.
func (t *Routes) All() iter.Seq2[netip.Prefix, *Route] {
	return func(yield func(netip.Prefix, *Route) bool) {
		for _, f := range []*routeFamily{&t.v4, &t.v6} {
			for _, e := range t.sorted(f) {
				if !yield(e.key.prefix(f.ipv6, e.bits), e.route) {
					return
				}
			}
		}
	}
}

// routeEntry is one route of a list.
type routeEntry struct {
	key   routeKey
	bits  int
	route *Route
}

func (t *Routes) sorted(f *routeFamily) []routeEntry {
	t.mu.Lock()
	list := make([]routeEntry, 0, f.count)
	for level := range f.lengths.Load().levels {
		for k, r := range level.all {
			list = append(list, routeEntry{k, level.bits, r})
		}
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b routeEntry) int {
		if c := a.key.compare(b.key); c != 0 {
			return c
		}
		return a.bits - b.bits
	})
	return list
}
