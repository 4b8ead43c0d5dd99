package routetable

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Prefetch is for a batch of lookups of these addresses what it is in an FDB.
// Where there are routes of many lengths it fetches only what says which of
// them to look at, since where the route is depends on that.
func (t *Routes) Prefetch(address []byte) {
	if t.large.Load() {
		t.prefetch(address)
	}
}

// resize notes whether there are so many routes that Prefetch is of use.
func (t *Routes) resize() {
	t.large.Store(t.v4.count+t.v6.count >= prefetchFrom/int(unsafe.Sizeof(routeSlot{})))
}

func (t *Routes) prefetch(address []byte) {
	var first, second unsafe.Pointer
	switch len(address) {
	case 4:
		first, second = t.v4.likely(routeKey{hi: uint64(binary.BigEndian.Uint32(address)) << 32})
	case 16:
		first, second = t.v6.likely(routeKey{binary.BigEndian.Uint64(address), binary.BigEndian.Uint64(address[8:])})
	}
	if first != nil {
		prefetch(first, second)
	}
}

// likely returns what a lookup reads first, which are one or two places; nil if
// there is nothing.
func (f *routeFamily) likely(k routeKey) (first, second unsafe.Pointer) {
	t := f.lengths.Load()
	switch {
	case t == nil || t.present == 0:
		return nil, nil
	case t.filter != nil:
		first = unsafe.Pointer(&t.filter.words[t.filter.word(k)])
		return first, first
	}
	return t.upTo64[bits.Len64(t.present)-1].likely(k)
}

func (l *routeLevel) likely(k routeKey) (first, second unsafe.Pointer) {
	if l.block != nil {
		first = unsafe.Pointer(l.block.at(k))
		return first, first
	}
	k.hi &= l.maskHi
	k.lo &= l.maskLo
	mask, i := uint64(len(l.slots)-1), k.hash()>>l.shift
	return unsafe.Pointer(&l.slots[i&mask]), unsafe.Pointer(&l.slots[(i+1)&mask])
}
