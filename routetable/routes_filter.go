package routetable

import (
	"math/bits"
	"sync/atomic"
)

// routeFilter says for parts of the address space, which lengths up to 64 there
// are routes of: bit n-1 for length n. It may say too much.
type routeFilter struct {
	ipv6   bool
	bits   int // of the number of a word
	always atomic.Uint64
	words  []atomic.Uint64
}

const (
	// fewLengths are looked at in turn, which is as quick as a filter.
	fewLengths = 2

	minFilterBits, maxFilterBits = 10, 21

	// filterPrefix6 is how many bits of an IPv6 address its word depends on.
	// Shorter prefixes are always looked for.
	filterPrefix6 = 32
)

// of returns the lengths that are worth looking at for an address.
func (f *routeFilter) of(k routeKey) uint64 { return f.words[f.word(k)].Load() | f.always.Load() }

// word is the number of an address's word: its first bits, over IPv4, where
// those differ; a hash of its first bits over IPv6, where the very first never
// do.
func (f *routeFilter) word(k routeKey) uint64 {
	if !f.ipv6 {
		return k.hi >> (64 - f.bits)
	}
	return routeKey{hi: k.hi >> (64 - filterPrefix6)}.hash() >> (64 - f.bits)
}

// note notes that there is a route.
func (f *routeFilter) note(k routeKey, length int) {
	switch {
	case length == 0 || length > 64:
		return
	case f.ipv6 && length < filterPrefix6:
		f.always.Or(1 << (length - 1))
		return
	}
	words := 1
	if !f.ipv6 && length < f.bits {
		words <<= f.bits - length
	}
	first := f.word(k)
	for i := range words {
		f.words[first+uint64(i)].Or(1 << (length - 1))
	}
}

// newFilter returns a filter for the routes of t and as many again, or nil
// where none is needed.
func (f *routeFamily) newFilter(t *routeLengths) *routeFilter {
	if bits.OnesCount64(t.present) <= fewLengths {
		return nil
	}
	n := min(max(bits.Len(uint(f.count))+1, minFilterBits), maxFilterBits)
	filter := &routeFilter{ipv6: f.ipv6, bits: n, words: make([]atomic.Uint64, 1<<n)}
	for level := range t.levels {
		for k := range level.all {
			filter.note(k, level.bits)
		}
	}
	return filter
}

// refilter makes the filter anew where it says too much, or where there is one
// and none is needed, or the other way about. It is called by the writer after
// a change.
func (f *routeFamily) refilter() {
	t := f.lengths.Load()
	have, wanted := t.filter != nil, bits.OnesCount64(t.present) > fewLengths
	if have == wanted && (!have || !f.outgrown(t.filter)) {
		return
	}
	next := *t
	next.filter = f.newFilter(t)
	f.deleted = 0
	f.lengths.Store(&next)
}

// outgrown reports whether there are so many routes for a word, or were so many
// deleted, that the words tell little.
func (f *routeFamily) outgrown(filter *routeFilter) bool {
	return f.count > len(filter.words) && filter.bits < maxFilterBits ||
		f.deleted > f.count+1<<minFilterBits
}
