package routetable

import "unsafe"

// prefetchFrom is from how many bytes on a table is not in the cache that a
// core has to itself, at least not for long.
const prefetchFrom = 256 << 10

// Prefetch has the processor fetch what Lookup or Learn of mac is going to
// read, and does not wait for it. A lookup among a million entries is mostly
// one wait for memory, so who has a batch of them to make prefetches for all
// before the first: then they wait together. It does nothing in a small table.
func (t *FDB) Prefetch(mac MAC) {
	if t.count.Load() < prefetchFrom/int64(unsafe.Sizeof(slot{})) {
		return
	}
	if first, second := t.likely(mac); first != nil {
		prefetch(unsafe.Pointer(first), unsafe.Pointer(second))
	}
}

// likely returns where the entry of a MAC mostly is: its place, or the one
// behind, which may begin another cache line; nil if its shard is empty.
func (t *FDB) likely(mac MAC) (first, second *slot) {
	hash := t.seed.hash(keyOf(mac))
	now := t.shards[hash>>shardShift].table.Load()
	if now == nil {
		return nil, nil
	}
	mask := uint64(len(now.slots) - 1)
	return &now.slots[hash&mask], &now.slots[(hash+1)&mask]
}
