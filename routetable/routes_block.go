package routetable

import (
	"math/bits"
	"sync/atomic"
)

// routeBlock holds the routes of one prefix length whose prefixes stand close together, as
// the subnets of a flannel network do: an array in which each has its place, by the number
// that its bits are. It takes 8 to 32 bytes a route, a hash table 26 to 51, and nothing has to
// be compared in it, so that with a million routes looking takes about as long as with few.
//
//	first       first+1     first+2
//	+-----------+-----------+-----------+----
//	| 10.0.0/24 | nil       | 10.0.2/24 | ...
//	+-----------+-----------+-----------+----
type routeBlock struct {
	first  uint64 // number of the first
	shift  uint   // of an address's upper half, to its number
	routes []atomic.Pointer[Route]
}

const (
	// minBlock is how many routes are worth a block.
	minBlock = 1 << 10
	// maxBlockSpread is how many places a block has for each route, at most, when it is
	// made: 8 bytes each.
	maxBlockSpread = 4
)

// blockWith returns an empty block for the routes of a level and one more prefix, nil if
// they are not close together, or few. It begins and ends where a shorter prefix does that
// holds them all, which a network is.
func (l *routeLevel) blockWith(more routeKey) *routeBlock {
	if l.bits == 0 || l.bits > 64 || l.live < minBlock {
		return nil
	}
	shift := uint(64 - l.bits)
	least, most := more.hi>>shift, more.hi>>shift
	for k := range l.all {
		least, most = min(least, k.hi>>shift), max(most, k.hi>>shift)
	}
	differ := bits.Len64(least ^ most)
	if differ >= bits.Len(uint(maxBlockSpread*(l.live+1))) {
		return nil
	}
	return &routeBlock{first: least &^ (1<<differ - 1), shift: shift, routes: make([]atomic.Pointer[Route], 1<<differ)}
}

// at returns the place of a prefix, nil if that is outside.
func (b *routeBlock) at(k routeKey) *atomic.Pointer[Route] {
	if i := k.hi>>b.shift - b.first; i < uint64(len(b.routes)) {
		return &b.routes[i]
	}
	return nil
}

func (b *routeBlock) find(k routeKey) *Route {
	if at := b.at(k); at != nil {
		return at.Load()
	}
	return nil
}

func (b *routeBlock) all(yield func(routeKey, *Route) bool) {
	for i := range b.routes {
		if r := b.routes[i].Load(); r != nil && !yield(routeKey{hi: (b.first + uint64(i)) << b.shift}, r) {
			return
		}
	}
}
