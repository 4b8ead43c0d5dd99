package routetable

import (
	"math/bits"
	"sync/atomic"
)

// routeFamily is the routes of one address family: a table for each prefix
// length that there is, of which the longest that has a route decides.
//
// Where there are many lengths a filter says which of them are worth looking
// at, so that a lookup meets one or two tables, however many routes there are.
type routeFamily struct {
	lengths atomic.Pointer[routeLengths]
	ipv6    bool

	// The writer's.
	count   int
	deleted int // since the filter was made: what it says may be too much by so many
}

// routeLengths is what a reader needs. It is replaced when a table is.
type routeLengths struct {
	present uint64          // bit n-1: there is a table for length n, up to 64
	upTo64  [64]*routeLevel // by length-1
	beyond  []*routeLevel   // the others, longest first
	zero    *routeLevel     // of length 0
	filter  *routeFilter    // nil = every table is looked at
}

// lookup returns the route of the longest prefix that an address is in.
func (f *routeFamily) lookup(k routeKey) *Route {
	t := f.lengths.Load()
	if t == nil {
		return nil
	}
	for _, level := range t.beyond {
		if r := level.find(k); r != nil {
			return r
		}
	}
	lengths := t.present
	if t.filter != nil {
		lengths &= t.filter.of(k)
	}
	for lengths != 0 {
		n := bits.Len64(lengths) - 1
		if r := t.upTo64[n].find(k); r != nil {
			return r
		}
		lengths &^= 1 << n
	}
	if t.zero != nil {
		return t.zero.find(k)
	}
	return nil
}

// at is where the table for a length stands.
func (t *routeLengths) at(length int) **routeLevel {
	switch {
	case length == 0:
		return &t.zero
	case length <= 64:
		return &t.upTo64[length-1]
	}
	for i := range t.beyond {
		if t.beyond[i].bits == length {
			return &t.beyond[i]
		}
	}
	return nil
}

// level returns the table for a length, or nil.
func (t *routeLengths) level(length int) *routeLevel {
	if t == nil {
		return nil
	}
	if at := t.at(length); at != nil {
		return *at
	}
	return nil
}

// with returns the lengths with a table put in; without routes it is left out.
func (t *routeLengths) with(level *routeLevel) *routeLengths {
	next := &routeLengths{}
	if t != nil {
		*next = *t
	}
	next.beyond = nil
	for _, have := range t.longest() {
		if have.bits != level.bits {
			next.beyond = append(next.beyond, have)
		}
	}
	there := level
	if level.live == 0 {
		there = nil
	}
	if level.bits <= 64 {
		*next.at(level.bits) = there
	} else if there != nil {
		at := 0
		for at < len(next.beyond) && next.beyond[at].bits > level.bits {
			at++
		}
		next.beyond = append(next.beyond[:at:at], append([]*routeLevel{level}, next.beyond[at:]...)...)
	}
	next.present = 0
	for n, have := range next.upTo64 {
		if have != nil {
			next.present |= 1 << n
		}
	}
	return next
}

func (t *routeLengths) longest() []*routeLevel {
	if t == nil {
		return nil
	}
	return t.beyond
}

// levels yields all tables, longest prefixes first.
func (t *routeLengths) levels(yield func(*routeLevel) bool) {
	if t == nil {
		return
	}
	for _, level := range t.beyond {
		if !yield(level) {
			return
		}
	}
	for n := 63; n >= 0; n-- {
		if level := t.upTo64[n]; level != nil && !yield(level) {
			return
		}
	}
	if t.zero != nil {
		yield(t.zero)
	}
}
