package routetable

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// The index is what Lookup reads: a word of each slot in eight bytes, so that a million of
// them are 12 MB and not 48. What is not in the processor's caches, or in its memory of
// where pages are, is most of what a lookup costs in a table of that size.
//
//	 63                      24 23          12 11      0
//	+--------------------------+--------------+---------+
//	| hash but for the shard's | set, or      | marker  |
//	| bits                     | unnumbered   |         |
//	+--------------------------+--------------+---------+
//
// Hashes are permuted MACs, so a word that has the rest of one is that MAC's. A word of 0
// is a free slot. The marker says in which tick the entry was last used, or is 0 if the
// slot says that. It is the tick's lower bits, so Sweep moves what is old to the slot,
// long before they come again.
const (
	restMask    = ^uint64(1<<24 - 1)
	numberShift = 12
	markerMask  = 1<<numberShift - 1

	unnumbered = 1 // the slot knows the set, or that there is none any more

	marked    = 1 << 11    // a marker that is one, above the bits of the tick
	oldMarker = marked / 4 // ticks, a minute, after which Sweep moves it to the slot
)

// marker is that of a tick.
func marker(now Tick) uint64 { return uint64(now)%marked | marked }

// home is the number of the slot at which the search for a MAC begins. A rest is that of
// its hash, in the place that it has in a word.
func (b *table) home(rest uint64) int {
	high, _ := bits.Mul64(rest, uint64(len(b.index)))
	return int(high)
}

// next is the number of the slot behind another, where the search goes on.
func (b *table) next(i int) int {
	if i++; i < len(b.index) {
		return i
	}
	return 0
}

// markUsed notes that a frame was sent. An entry in constant use is mostly only read, so
// that its cache line stays with all that read it.
func (t *FDB) markUsed(b *table, i int, word uint64, now Tick) {
	if now.since(Tick(t.seen.Load())) > seenEvery {
		t.seen.Store(uint32(now))
	}
	b.index[i].CompareAndSwap(word, word&^markerMask|marker(now)) // unless the entry has changed
}

// seenEvery is by how many ticks FDB.seen may be late.
const seenEvery = 8 * TicksPerSecond

// used is when an entry was last used.
func (t *FDB) used(b *table, i int) Tick {
	word := b.index[i].Load()
	if word&markerMask == 0 {
		return Tick(b.slots[i].used.Load())
	}
	seen := Tick(t.seen.Load())
	const sign = 32 - 11
	return seen + Tick(int32(uint32(word)-uint32(seen))<<sign>>sign)
}

// publish has readers see what a slot holds now. The caller holds the lock.
func (b *table) publish(i int, rest uint64) {
	number := uint64(unnumbered)
	if set := b.slots[i].remotes.Load(); set != nil {
		number = max(number, uint64(set.number.Load()))
	}
	for {
		word := b.index[i].Load()
		if b.index[i].CompareAndSwap(word, rest|number<<numberShift|word&markerMask) {
			return
		}
	}
}

// unmark moves old markers to the slots. The caller holds the lock.
func (t *FDB) unmark(b *table, now Tick) {
	for i := range b.index {
		word := b.index[i].Load()
		if word&markerMask == 0 {
			continue
		}
		if used := t.used(b, i); now.since(used) >= oldMarker {
			b.slots[i].used.Store(uint32(used))
			b.index[i].CompareAndSwap(word, word&^markerMask) // unless it is just being used
		}
	}
}

// setNumbers numbers the sets of one remote. A number stays a set's for good, so that
// readers need not look twice; what comes when there are none left goes without, and is
// found by way of the slots.
type setNumbers struct {
	mu   sync.Mutex
	next atomic.Uint32 // number to be given, of those after unnumbered
	sets [1 << 12]atomic.Pointer[remoteSet]
}

// of returns the set of a word that has a number, or nil.
func (n *setNumbers) of(word uint64) *remoteSet {
	return n.sets[word>>numberShift%uint64(len(n.sets))].Load()
}

// give gives a set a number, unless it has one. The second half of the numbers is for
// sets that are shared: VTEPs that somebody makes up for a MAC each do not get them.
func (n *setNumbers) give(set *remoteSet, shared bool) {
	most := uint32(len(n.sets) / 2)
	if shared {
		most = uint32(len(n.sets))
	}
	if set.number.Load() != 0 || n.next.Load() >= most {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	number := max(n.next.Load(), unnumbered+1)
	if set.number.Load() != 0 || number >= most {
		return
	}
	n.sets[number].Store(set)
	set.number.Store(number)
	n.next.Store(number + 1)
}
