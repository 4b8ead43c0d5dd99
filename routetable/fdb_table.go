package routetable

import (
	"sync"
	"sync/atomic"
)

const (
	shardShift = 64 - 8 // of a hash, to its shard
	restShift  = 8      // of a hash, to what its shard does not say
	fallback   = 1 << 8 // the shard of the all-zero MAC, which no hash gives

	leastSlots = 8
)

// slot is the place of one MAC: 32 bytes, two to a cache line.
//
// A slot belongs to one MAC for the life of its table. It holds an entry while
// remotes is set; without, it is a tombstone, which probing passes and which
// only an entry of the same MAC may fill again. So a reader that has found its
// MAC needs to look at nothing but remotes, and can never see those of
// another.
type slot struct {
	key     atomic.Uint64 // of the MAC, see keyOf
	meta    atomic.Uint64 // see meta
	used    atomic.Uint32 // Tick, unless the index says a later one
	updated atomic.Uint32 // Tick
	remotes atomic.Pointer[remoteSet]
}

// markUpdated notes that a frame was received. An entry in constant use is mostly
// only read, so that its cache line stays with all that read it.
func (e *slot) markUpdated(now Tick) {
	if e.updated.Load() != uint32(now) {
		e.updated.Store(uint32(now))
	}
}

// table is an open-addressing hash table. At least a fifth of its slots is free.
type table struct {
	index []atomic.Uint64 // a word of each slot
	slots []slot
}

func newTable(slots int) *table {
	return &table{index: make([]atomic.Uint64, slots), slots: make([]slot, slots)}
}

// place returns the number of the slot of a MAC, or of the free one where it would be.
func (b *table) place(rest uint64) (i int, found bool) {
	for i = b.home(rest); ; i = b.next(i) {
		word := b.index[i].Load()
		if word == 0 {
			return i, false
		}
		if (word^rest)&restMask == 0 {
			return i, true
		}
	}
}

// shard is the part of an FDB behind one lock.
type shard struct {
	table  atomic.Pointer[table] // nil = empty
	mu     sync.Mutex            // held by who changes anything but the times of an entry
	live   int                   // entries
	filled int                   // slots that have a key: entries and tombstones
}

// find returns the slot of a MAC, nil if there is none. It needs no lock; the
// slot may be a tombstone, and may belong to a table that is no longer the
// shard's.
func (s *shard) find(rest uint64) *slot {
	now := s.table.Load()
	if now == nil {
		return nil
	}
	if i, found := now.place(rest); found {
		return &now.slots[i]
	}
	return nil
}

// entry returns the slot of a MAC if there is an entry in it. The caller holds the
// lock.
func (s *shard) entry(rest uint64) *slot {
	if at := s.find(rest); at != nil && at.remotes.Load() != nil {
		return at
	}
	return nil
}

// entries yields the slots that hold an entry. The caller holds the lock; it
// may remove the entry it is given, and calls shrink afterwards.
func (s *shard) entries(yield func(*slot) bool) {
	now := s.table.Load()
	if now == nil {
		return
	}
	for i := range now.slots {
		if at := &now.slots[i]; at.remotes.Load() != nil && !yield(at) {
			return
		}
	}
}

// insert puts an entry in for a MAC that has none. The caller holds the lock.
func (s *shard) insert(key, rest uint64, m meta, set *remoteSet, now Tick) *slot {
	i := s.slotFor(rest)
	s.live++
	b := s.table.Load()
	at := &b.slots[i]
	b.index[i].Store(rest | unnumbered<<numberShift) // without the marker of one that was here
	at.key.Store(key)
	at.meta.Store(uint64(m))
	at.used.Store(uint32(now))
	at.updated.Store(uint32(now))
	at.remotes.Store(set) // from here on whoever finds the slot sees the entry, with all of the above
	b.publish(i, rest)
	return at
}

// slotFor returns the number of the slot of a MAC, of its own one or one that has been
// free, in a larger table if this one is full.
func (s *shard) slotFor(rest uint64) int {
	if now := s.table.Load(); now != nil {
		i, found := now.place(rest)
		if found {
			return i
		}
		if s.filled++; 5*s.filled <= 4*len(now.slots) {
			return i
		}
	}
	s.rebuild(s.live + 1)
	s.filled++
	i, _ := s.table.Load().place(rest)
	return i
}

// change gives an entry other remotes; nil makes it a tombstone. The caller holds the
// lock, and calls shrink when it has removed all it wants to.
func (s *shard) change(at *slot, rest uint64, set *remoteSet) {
	at.remotes.Store(set)
	b := s.table.Load()
	i, _ := b.place(rest)
	b.publish(i, rest)
	if set == nil {
		s.live--
	}
}

// shrink gives back the memory of a table that has become much too large. The
// caller holds the lock.
func (s *shard) shrink() {
	now := s.table.Load()
	if now != nil && (s.live == 0 || len(now.slots) > leastSlots && 8*s.live < len(now.slots)) {
		s.rebuild(s.live)
	}
}

// rebuild moves the entries to a table with room for want of them and some
// more, and leaves tombstones behind. It works on a 256th of all entries, so
// it takes some tenths of a millisecond when there are a million. Readers go on
// with the old table meanwhile.
//
// A reader that found its entry in the old table just before it is replaced
// may write the time there after it was copied, where nobody looks any more.
// The entry then keeps the time of the use before: one refresh is lost, and
// the next one, an eighth of a second later if frames keep coming, finds the
// new table. So only an entry that was refreshed once in a whole ageing time
// can go early, just as it would if that one frame had been lost on its way.
func (s *shard) rebuild(want int) {
	if want == 0 {
		s.table.Store(nil)
		s.filled = 0
		return
	}
	fresh := newTable(slotsFor(want))
	if now := s.table.Load(); now != nil {
		now.moveTo(fresh)
	}
	s.filled = s.live
	s.table.Store(fresh)
}

func (b *table) moveTo(fresh *table) {
	for j := range b.slots {
		old := &b.slots[j]
		set := old.remotes.Load()
		if set == nil {
			continue
		}
		rest := b.index[j].Load() & restMask
		i, _ := fresh.place(rest)
		at := &fresh.slots[i]
		at.key.Store(old.key.Load())
		at.meta.Store(old.meta.Load())
		at.used.Store(old.used.Load())
		at.updated.Store(old.updated.Load())
		at.remotes.Store(set)
		fresh.index[i].Store(b.index[j].Load() & markerMask)
		fresh.publish(i, rest)
	}
}

// slotsFor returns how large a table for want entries is made: two thirds of it are
// taken. One that is emptier is slower when it is large, since less of it is cached.
func slotsFor(want int) int { return max(leastSlots, want+want/2) }
