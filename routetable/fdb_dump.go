package routetable

import (
	"cmp"
	"iter"
	"slices"
)

// Entry returns what the table holds for mac. The entry does not count as
// used.
func (t *FDB) Entry(mac MAC) (Entry, bool) {
	key := keyOf(mac)
	s, hash := t.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.entry(key, hash)
	if at == nil {
		return Entry{}, false
	}
	m := meta(at.meta.Load())
	return Entry{
		MAC:     mac,
		Remotes: at.remotes.Load().list,
		State:   m.state(),
		Flags:   m.flags() & flagsGiven,
		Used:    Tick(at.used.Load()),
		Updated: Tick(at.updated.Load()),
	}, true
}

// Entries yields the entries, the newest first. No lock is held meanwhile, so
// each is as it is when its turn comes; one that is gone by then is left out,
// and one that is made meanwhile does not come.
func (t *FDB) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, p := range t.places() {
			if e, ok := t.Entry(macOf(p.key)); ok && !yield(e) {
				return
			}
		}
	}
}

// place is where an entry stands among all: 16 bytes, for there may be
// millions.
type place struct{ sequence, key uint64 }

func (t *FDB) places() []place {
	all := make([]place, 0, t.Len())
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for at := range s.entries {
			all = append(all, place{meta(at.meta.Load()).sequence(), at.key.Load()})
		}
		s.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Compare(b.sequence, a.sequence) })
	return all
}
