package routetable

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
)

// none reports whether r says no remote at all.
func (r *Remote) none() bool {
	return r == nil || !r.Addr.IsValid() || r.Addr.IsUnspecified()
}

// remoteSet is the remotes of an entry, or of several. It never changes:
// readers keep it as long as they like.
type remoteSet struct {
	list []Remote
	one  [1]Remote // what list is for the sake of, mostly
}

func newSet(r Remote) *remoteSet {
	set := &remoteSet{one: [1]Remote{r}}
	set.list = set.one[:]
	return set
}

func (s *remoteSet) with(r Remote) *remoteSet {
	return &remoteSet{list: append(slices.Clip(s.list), r)}
}

// without returns the set without those remotes that drop picks: nil if
// nothing remains, and s itself if everything does.
func (s *remoteSet) without(drop func(*Remote) bool) *remoteSet {
	var kept []Remote
	for i := range s.list {
		if !drop(&s.list[i]) {
			kept = append(kept, s.list[i])
		}
	}
	switch len(kept) {
	case len(s.list):
		return s
	case 0:
		return nil
	}
	return &remoteSet{list: kept}
}

// setCache lets entries behind the same VTEP share one set. It is bounded, so a
// flood of made-up sources costs sharing, not memory. A thousand VTEPs have
// nearly all of them a place in it: an address may be in any of the four of its
// row. (With one each, a fifth to two fifths of a thousand had to share it, and
// made a set of 64 bytes for every MAC.)
type setCache [1 << setRowBits][4]atomic.Pointer[remoteSet]

const setRowBits = 10

// of returns a set of r alone.
func (c *setCache) of(seed *hashSeed, r Remote) *remoteSet {
	hash := hashAddr(seed, r.Addr)
	row := &c[hash>>(64-setRowBits)]
	place := int(hash % 4) // to be given up if there is none free
	for i := range row {
		have := row[i].Load()
		if have == nil {
			place = i
			break
		}
		if have.one[0] == r {
			return have
		}
	}
	set := newSet(r)
	row[place].Store(set)
	return set
}

func hashAddr(seed *hashSeed, a netip.Addr) uint64 {
	b := a.As16()
	return seed.hash(binary.LittleEndian.Uint64(b[:8]) ^ binary.LittleEndian.Uint64(b[8:]))
}
