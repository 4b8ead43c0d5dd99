package routetable

import (
	"errors"
	"slices"
)

// What Add, Append, Replace and Delete refuse.
var (
	ErrExists             = errors.New("there is an entry for this address already: replace it, or delete it first")
	ErrFull               = errors.New("the table is full: delete entries, or raise maxaddress")
	ErrNotFound           = errors.New("there is no entry for this address")
	ErrReplaceNotUnicast  = errors.New("cannot replace the entry of an all-zero or multicast address: append and delete remotes one by one")
	ErrReplaceUnsupported = errors.New("cannot make the entry of an all-zero or multicast address by replacing it: append to it")
)

// change is one wanted change of an entry.
type change struct {
	op     operation
	mac    MAC
	remote Remote
	state  State
	flags  Flags
	now    Tick
}

type operation uint8

const (
	opAdd operation = iota
	opAppend
	opReplace
)

// Add makes an entry.
func (t *FDB) Add(mac MAC, r Remote, s State, f Flags, now Tick) error {
	return t.apply(&change{opAdd, mac, r, s, f&flagsGiven | byUser, now})
}

// Append adds a remote to the entry of an all-zero or multicast address, or
// makes the entry. On one that exists, of whatever address, it sets state and
// flags; it never changes where a unicast address is.
func (t *FDB) Append(mac MAC, r Remote, s State, f Flags, now Tick) error {
	return t.apply(&change{opAppend, mac, r, s, f&flagsGiven | byUser, now})
}

// Replace makes r the remote of a unicast address, whether or not it has an
// entry.
func (t *FDB) Replace(mac MAC, r Remote, s State, f Flags, now Tick) error {
	return t.apply(&change{opReplace, mac, r, s, f&flagsGiven | byUser, now})
}

func (t *FDB) apply(c *change) error {
	key := keyOf(c.mac)
	s, hash := t.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.applyLocked(s, key, hash, c)
}

func (t *FDB) applyLocked(s *shard, key, hash uint64, c *change) error {
	at := s.entry(key, hash)
	switch {
	case at == nil && c.op == opReplace && !c.mac.unicast():
		return ErrReplaceUnsupported
	case at == nil:
		defer t.changes.Add(1)
		return t.create(s, key, hash, c)
	case c.op == opAdd:
		return ErrExists
	}
	return t.update(at, c)
}

// create makes the entry of a MAC that has none.
func (t *FDB) create(s *shard, key, hash uint64, c *change) error {
	if !t.takePlace() {
		return ErrFull
	}
	m := metaOf(c.state, c.flags, t.sequence.Add(1))
	at := s.insert(&t.seed, key, hash, m, t.sets.of(&t.seed, c.remote), c.now)
	t.tell(at, &c.remote)
	return nil
}

// takePlace counts one more MAC unless there are as many as there may be.
func (t *FDB) takePlace() bool {
	for {
		n := t.count.Load()
		if t.limit > 0 && n >= t.limit {
			return false
		}
		if t.count.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// update changes an entry as the kernel does, which tells of it once at most.
// In the same order too: a Replace that is refused has set state and flags by
// then, and tells nobody (6.18).
func (t *FDB) update(at *slot, c *change) error {
	changed := setStateAndFlags(at, c)
	set := at.remotes.Load()
	told := &set.list[0]
	missing := !slices.Contains(set.list, c.remote)
	switch unicast := c.mac.unicast(); {
	case c.op == opReplace && !unicast:
		return ErrReplaceNotUnicast
	case missing && c.op == opReplace:
		at.remotes.Store(t.sets.of(&t.seed, c.remote))
		changed, told = true, &c.remote
	case missing && c.op == opAppend && !unicast:
		at.remotes.Store(set.with(c.remote))
		changed, told = true, &c.remote
	}
	if changed {
		t.changes.Add(1)
		at.updated.Store(uint32(c.now))
		t.tell(at, told)
	}
	return nil
}

// setStateAndFlags reports whether it changed something. What a controller
// learnt does not take over what a user added.
func setStateAndFlags(at *slot, c *change) (changed bool) {
	have := meta(at.meta.Load())
	if c.flags&ExternLearn != 0 && have.flags()&byUser != 0 {
		return false
	}
	wanted := metaOf(c.state, c.flags, have.sequence())
	at.meta.Store(uint64(wanted))
	return wanted != have
}

// Delete takes r from the entry of mac; the last remote takes the entry with
// it. Without r, or with one whose address is unspecified, the whole entry
// goes. A remote that the entry does not have is no error.
func (t *FDB) Delete(mac MAC, r *Remote) error {
	key := keyOf(mac)
	s, hash := t.shardOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.entry(key, hash)
	if at == nil {
		return ErrNotFound
	}
	every := r.none()
	t.drop(s, at, false, func(have *Remote) bool { return every || *have == *r })
	s.shrink(&t.seed)
	return nil
}

// drop takes the remotes that match away from an entry, and the entry with the
// last of them. It returns how many they were. The caller holds the shard's
// lock, and calls shrink afterwards.
func (t *FDB) drop(s *shard, at *slot, stale bool, match func(*Remote) bool) int {
	set := at.remotes.Load()
	kept := set.without(match)
	if kept == set {
		return 0
	}
	t.tellDropped(at, stale, match)
	if kept != nil {
		at.remotes.Store(kept)
		t.changes.Add(1)
		return len(set.list) - len(kept.list)
	}
	s.remove(at)
	t.changes.Add(1)
	t.count.Add(-1)
	return len(set.list)
}
