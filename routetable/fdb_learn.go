package routetable

import "net/netip"

// Verdict is what becomes of a frame whose source was looked at.
type Verdict uint8

// The verdicts. Everything but Learnt means that the frame is to be dropped.
const (
	Learnt  Verdict = iota // known now, or the table is full: to be delivered
	Invalid                // the source is all zero or multicast
	Pinned                 // the source was put at another remote by hand
)

// Learn notes that src is behind the VTEP at addr. ifIndex is the device that
// the frame came in by if addr is link-local, else 0. An entry made with a
// device matches that device only, as in the kernel (6.18): with a global addr
// a static entry refuses even its own remote's frames, and a dynamic one takes
// every frame for a move and tells of it.
func (t *FDB) Learn(src MAC, addr netip.Addr, ifIndex int, now Tick) Verdict {
	if !src.unicast() {
		return Invalid
	}
	key := keyOf(src)
	hash := t.seed.hash(key)
	s := &t.shards[hash>>shardShift]
	if at := s.find(key, hash); at != nil {
		if set := at.remotes.Load(); set != nil {
			at.markUpdated(now) // of a frame that is refused too
			if set.at(addr, ifIndex) {
				return Learnt
			}
			if meta(at.meta.Load()).state() != Dynamic {
				return Pinned
			}
		}
	}
	return t.learnSlow(s, key, hash, addr, ifIndex, now)
}

// at reports whether the first remote is at an address and device.
func (s *remoteSet) at(addr netip.Addr, ifIndex int) bool {
	first := &s.list[0]
	return first.Addr == addr && first.IfIndex == ifIndex
}

// learnSlow makes or moves an entry, unless that has happened meanwhile.
func (t *FDB) learnSlow(s *shard, key, hash uint64, addr netip.Addr, ifIndex int, now Tick) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.entry(key, hash)
	if at == nil {
		r := Remote{Addr: addr, Port: t.learned.Port, VNI: t.learned.VNI, IfIndex: ifIndex}
		// A full table has nothing to do with the frame, which is delivered.
		if t.create(s, key, hash, &change{mac: macOf(key), remote: r, now: now}) == nil && t.wentElsewhere(&r) {
			t.changes.Add(1)
		}
		return Learnt
	}
	set := at.remotes.Load()
	switch {
	case set.at(addr, ifIndex):
		return Learnt
	case meta(at.meta.Load()).state() != Dynamic:
		return Pinned
	}
	// Port, VNI, device and flags stay what they were.
	moved := set.list[0]
	moved.Addr = addr
	at.remotes.Store(t.sets.of(&t.seed, moved))
	t.changes.Add(1)
	t.tell(at, &moved)
	return Learnt
}

// wentElsewhere reports whether frames for a station that had no entry went to
// one VTEP, and that is not r's. By which device they left is not looked at:
// nothing that is learnt says one.
func (t *FDB) wentElsewhere(r *Remote) bool {
	at := t.shards[fallback].find(keyOf(MAC{}), 0)
	if at == nil {
		return false
	}
	set := at.remotes.Load()
	if set == nil || len(set.list) != 1 {
		return false
	}
	to := &set.list[0]
	return to.Addr != r.Addr || to.Port != r.Port || to.VNI != r.VNI
}
