package routetable

import (
	"math/bits"
	"sync/atomic"
)

// routeLevel holds the routes of one prefix length: a hash table with open
// addressing that grows by being replaced, or a block.
type routeLevel struct {
	block          *routeBlock // instead of slots
	maskHi, maskLo uint64
	bits           int
	shift          uint // of a hash, to the number of a slot
	slots          []routeSlot
	lows           []uint64 // lower halves of the slots' keys; nil up to 64 bits, where all are 0
	live           int      // routes; the writer's
	used           int      // slots that have a key; the writer's
}

// routeSlot belongs to one prefix from the first time that it is used, for the
// life of its table: a reader that finds a route in it may read the key, which
// was written before and never changes.
type routeSlot struct {
	high  uint64                // upper half of the key
	route atomic.Pointer[Route] // nil where there was never one
}

// deletedRoute stands in slots whose route was deleted: looking goes on behind
// them.
var deletedRoute Route

const minRouteSlots = 8

func newRouteLevel(length, slots int) *routeLevel {
	l := &routeLevel{bits: length, shift: uint(64 - bits.TrailingZeros(uint(slots))), slots: make([]routeSlot, slots)}
	switch {
	case length > 64:
		l.lows = make([]uint64, slots)
		l.maskHi, l.maskLo = ^uint64(0), ^uint64(0)<<(128-length)
	case length > 0:
		l.maskHi = ^uint64(0) << (64 - length)
	}
	return l
}

// hash spreads keys that count up over all slots.
func (k routeKey) hash() uint64 {
	hi, lo := bits.Mul64(k.hi^0x9e37_79b9_7f4a_7c15, k.lo^0xd6e8_feb8_6659_fd93)
	return (hi ^ lo) * 0x9e37_79b9_7f4a_7c15
}

// find returns the route that an address has at this length, or nil.
func (l *routeLevel) find(k routeKey) *Route {
	if l.block != nil {
		return l.block.find(k)
	}
	k.hi &= l.maskHi
	k.lo &= l.maskLo
	for at := k.hash() >> l.shift; ; at++ {
		i := at & uint64(len(l.slots)-1)
		slot := &l.slots[i]
		route := slot.route.Load()
		if route == nil {
			return nil
		}
		if slot.high == k.hi && (l.lows == nil || l.lows[i] == k.lo) {
			if route == &deletedRoute {
				return nil
			}
			return route
		}
	}
}

// slot returns the number of a prefix's slot, or of the free one that it would
// take.
func (l *routeLevel) slot(k routeKey) int {
	for at := k.hash() >> l.shift; ; at++ {
		i := int(at & uint64(len(l.slots)-1))
		if l.slots[i].route.Load() == nil || l.key(i) == k {
			return i
		}
	}
}

// key is that of a slot which has one.
func (l *routeLevel) key(i int) routeKey {
	k := routeKey{hi: l.slots[i].high}
	if l.lows != nil {
		k.lo = l.lows[i]
	}
	return k
}

// put sets the route of a prefix. There must be room.
func (l *routeLevel) put(k routeKey, r *Route) {
	if l.block != nil {
		if l.block.at(k).Swap(r) == nil {
			l.live++
		}
		return
	}
	i := l.slot(k)
	slot := &l.slots[i]
	switch slot.route.Load() {
	case nil:
		slot.high = k.hi // nobody looks at it before there is a route
		if l.lows != nil {
			l.lows[i] = k.lo
		}
		l.used++
		l.live++
	case &deletedRoute:
		l.live++
	}
	slot.route.Store(r)
}

func (l *routeLevel) remove(k routeKey) {
	l.live--
	if l.block != nil {
		l.block.at(k).Store(nil)
		return
	}
	l.slots[l.slot(k)].route.Store(&deletedRoute)
}

// takes reports whether there is room for one more key. With more than five eighths of
// its slots taken a table would be slow to look in.
func (l *routeLevel) takes(k routeKey) bool {
	if l.block != nil {
		return l.block.at(k) != nil
	}
	return (l.used+1)*8 <= len(l.slots)*5
}

// sparse reports whether a table a quarter as large would do.
func (l *routeLevel) sparse() bool {
	size := len(l.slots)
	if l.block != nil {
		size = len(l.block.routes)
	}
	return size > minRouteSlots && l.live*16 < size
}

// resized returns a table with the same routes, and room for one more; a hash table for as
// many again.
func (l *routeLevel) resized(more routeKey) *routeLevel {
	next := &routeLevel{bits: l.bits, block: l.blockWith(more)}
	if next.block == nil {
		slots := minRouteSlots
		for slots < 2*(l.live+1) {
			slots *= 2
		}
		next = newRouteLevel(l.bits, slots)
	}
	for k, r := range l.all {
		next.put(k, r)
	}
	return next
}

// all yields the routes in no order. Routes that are added or deleted meanwhile
// may be yielded or not.
func (l *routeLevel) all(yield func(routeKey, *Route) bool) {
	if l.block != nil {
		l.block.all(yield)
		return
	}
	for i := range l.slots {
		if r := l.slots[i].route.Load(); r != nil && r != &deletedRoute && !yield(l.key(i), r) {
			return
		}
	}
}
