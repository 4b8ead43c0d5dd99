package routetable

import (
	"sync"
	"sync/atomic"
)

const (
	shardShift = 64 - 8 // of a hash, to its shard
	fallback   = 1 << 8 // the shard of the all-zero MAC, which no hash gives

	leastSlots = 8
)

// slot is the place of one MAC: 32 bytes, two to a cache line.
//
// A slot belongs to one MAC for the life of its table. It holds an entry while
// remotes is set; without, it is a tombstone, which probing passes and which
// only an entry of the same MAC may fill again. So a reader that has found its
// key needs to look at nothing but remotes, and can never see those of
// another.
type slot struct {
	key     atomic.Uint64 // of the MAC, see keyOf; 0 = free
	meta    atomic.Uint64 // see meta
	used    atomic.Uint32 // Tick
	updated atomic.Uint32 // Tick
	remotes atomic.Pointer[remoteSet]
}

// markUsed notes that a frame was sent. An entry in constant use is mostly
// only read, so that its cache line stays with all that read it.
func (e *slot) markUsed(now Tick) {
	if e.used.Load() != uint32(now) {
		e.used.Store(uint32(now))
	}
}

// markUpdated notes that a frame was received.
func (e *slot) markUpdated(now Tick) {
	if e.updated.Load() != uint32(now) {
		e.updated.Store(uint32(now))
	}
}

// table is an open-addressing hash table. At least a quarter of its slots is
// free.
type table struct {
	slots []slot // a power of two of them
}

// place returns the slot of key, or the free one where it would be.
func (b *table) place(key, hash uint64) *slot {
	mask := uint64(len(b.slots) - 1)
	for i := hash; ; i++ {
		at := &b.slots[i&mask]
		if k := at.key.Load(); k == key || k == 0 {
			return at
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

// find returns the slot of key, nil if there is none. It needs no lock; the
// slot may be a tombstone, and may belong to a table that is no longer the
// shard's.
func (s *shard) find(key, hash uint64) *slot {
	now := s.table.Load()
	if now == nil {
		return nil
	}
	mask := uint64(len(now.slots) - 1)
	for i := hash; ; i++ {
		at := &now.slots[i&mask]
		switch at.key.Load() {
		case key:
			return at
		case 0:
			return nil
		}
	}
}

// entry returns the slot of key if there is an entry in it. The caller holds
// the lock.
func (s *shard) entry(key, hash uint64) *slot {
	if at := s.find(key, hash); at != nil && at.remotes.Load() != nil {
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

// insert puts an entry in for a key that has none. The caller holds the lock.
func (s *shard) insert(seed *hashSeed, key, hash uint64, m meta, set *remoteSet, now Tick) *slot {
	at := s.find(key, hash)
	if at == nil {
		at = s.freeSlot(seed, key, hash)
		s.filled++
	}
	s.live++
	at.meta.Store(uint64(m))
	at.used.Store(uint32(now))
	at.updated.Store(uint32(now))
	at.remotes.Store(set) // from here on whoever has found the key sees the entry, with all of the above
	at.key.Store(key)
	return at
}

// freeSlot returns where a key without a slot goes, in a larger table if this
// one is full.
func (s *shard) freeSlot(seed *hashSeed, key, hash uint64) *slot {
	now := s.table.Load()
	if now == nil || 4*(s.filled+1) > 3*len(now.slots) {
		s.rebuild(seed, s.live+1)
		now = s.table.Load()
	}
	return now.place(key, hash)
}

// remove makes a tombstone of an entry. The caller holds the lock, and calls
// shrink when it has removed all it wants to.
func (s *shard) remove(at *slot) {
	at.remotes.Store(nil)
	s.live--
}

// shrink gives back the memory of a table that has become much too large. The
// caller holds the lock.
func (s *shard) shrink(seed *hashSeed) {
	now := s.table.Load()
	if now != nil && (s.live == 0 || len(now.slots) > leastSlots && 8*s.live < len(now.slots)) {
		s.rebuild(seed, s.live)
	}
}

// rebuild moves the entries to a table with room for want of them and some
// more, and leaves tombstones behind. It works on a 256th of all entries, so
// it takes a tenth of a millisecond when there are a million. Readers go on
// with the old table meanwhile.
//
// A reader that found its entry in the old table just before it is replaced
// may write the time there after it was copied, where nobody looks any more.
// The entry then keeps the time of the use before: one refresh is lost, and
// the next one, an eighth of a second later if frames keep coming, finds the
// new table. So only an entry that was refreshed once in a whole ageing time
// can go early, just as it would if that one frame had been lost on its way.
func (s *shard) rebuild(seed *hashSeed, want int) {
	if want == 0 {
		s.table.Store(nil)
		s.filled = 0
		return
	}
	fresh := &table{slots: make([]slot, slotsFor(want))}
	for old := range s.entries {
		key := old.key.Load()
		at := fresh.place(key, seed.hash(key))
		at.meta.Store(old.meta.Load())
		at.used.Store(old.used.Load())
		at.updated.Store(old.updated.Load())
		at.remotes.Store(old.remotes.Load())
		at.key.Store(key)
	}
	s.filled = s.live
	s.table.Store(fresh)
}

// slotsFor returns how large a table for want entries is made: at most two
// thirds of it are taken.
func slotsFor(want int) int {
	n := leastSlots
	for 2*n < 3*want {
		n *= 2
	}
	return n
}
