package registry

import (
	"maps"
	"slices"
	"time"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
)

// Kind is what happened to a lease.
type Kind int

// The kinds. A renewal is none.
const (
	Added Kind = iota
	Changed
	Removed
)

// Event is one lease that came, changed what it says, or went.
type Event struct {
	Kind  Kind
	Lease lease.Lease // as it is, or as it was when it went
	Old   lease.Lease // of Changed: as it was before
}

// table is what Follow's caller has been told.
type table struct {
	registry *Registry
	at       int64 // revision up to which it is told; 0 before the first list
	leases   map[string]lease.Lease
	missing  map[string]time.Time // not in the store any more, and until when they are kept
	moment   time.Duration        // how long each is
	grace    time.Duration        // how long if the store has lost all
}

// apply turns changes of the store into events.
func (t *table) apply(changes []store.Change, malformed func(Malformed)) (events []Event) {
	for _, c := range changes {
		name := t.registry.name(c.Pair)
		if c.Deleted {
			t.miss(name, t.moment)
			continue
		}
		l, bad := t.registry.parse(c.Pair)
		if bad != nil {
			malformed(*bad)
			continue
		}
		events = t.set(events, l)
	}
	return events
}

// miss keeps a lease that is gone for a while: a node whose lease somebody
// revoked puts it there again, and its peers are to lose no packet for that.
func (t *table) miss(name string, while time.Duration) {
	_, known := t.leases[name]
	if _, already := t.missing[name]; known && !already {
		t.missing[name] = time.Now().Add(while)
	}
}

func (t *table) set(events []Event, l lease.Lease) []Event {
	events = t.replace(events, l)
	old, known := t.leases[l.Name]
	t.leases[l.Name] = l
	delete(t.missing, l.Name)
	switch {
	case !known:
		events = append(events, Event{Kind: Added, Lease: l})
	case !old.Same(l):
		events = append(events, Event{Kind: Changed, Lease: l, Old: old})
	}
	return events
}

// replace removes what is missing and in the way of another lease: of the same
// addresses or the same node.
func (t *table) replace(events []Event, by lease.Lease) []Event {
	for _, name := range slices.Sorted(maps.Keys(t.missing)) {
		l := t.leases[name]
		if name != by.Name && (l.Overlaps(by.Subnet) || l.PublicIP == by.PublicIP) {
			events = t.remove(events, name)
		}
	}
	return events
}

func (t *table) remove(events []Event, name string) []Event {
	old, known := t.leases[name]
	if !known {
		return events
	}
	delete(t.leases, name)
	delete(t.missing, name)
	return append(events, Event{Kind: Removed, Lease: old})
}

// reset turns a snapshot into the events that lead to it. A lease whose value
// has become malformed is still its node's, and stays as it was. What is not
// there is missing, for longer in a store that begins anew.
func (t *table) reset(snap Snapshot) (events []Event) {
	while := t.moment
	if t.anew(snap) {
		while = t.grace
	}
	present := map[string]struct{}{}
	for _, m := range snap.Malformed {
		present[m.Name] = struct{}{}
	}
	for _, l := range snap.Leases {
		present[l.Name] = struct{}{}
	}
	for name := range t.leases { // first, so that what is in the way of a lease goes before that comes
		if _, ok := present[name]; !ok {
			t.miss(name, while)
		}
	}
	for _, l := range snap.Leases {
		events = t.set(events, l)
	}
	t.at = snap.Revision
	return events
}

// anew reports whether a snapshot is of another store than the one followed so
// far, one that lost its data: its count is behind, or what it knows from
// before is something else.
func (t *table) anew(snap Snapshot) bool {
	if snap.Revision < t.at {
		return true
	}
	for _, l := range snap.Leases {
		old, known := t.leases[l.Name]
		if l.Revision <= t.at && (!known || l.Revision != old.Revision) && t.at != 0 {
			return true
		}
	}
	return false
}

// newest returns the lease that changed last, of those that should be there.
func (t *table) newest() (last lease.Lease) {
	for name, l := range t.leases {
		if _, gone := t.missing[name]; !gone && l.Revision > last.Revision {
			last = l
		}
	}
	return last
}

// forget removes what has been missing for long enough.
func (t *table) forget() (events []Event) {
	now := time.Now()
	for _, name := range slices.Sorted(maps.Keys(t.missing)) {
		if !t.missing[name].After(now) {
			events = t.remove(events, name)
		}
	}
	return events
}

// due is when something is to be forgotten, if anything is missing.
func (t *table) due() (first time.Time, missing bool) {
	for _, until := range t.missing {
		if !missing || until.Before(first) {
			first, missing = until, true
		}
	}
	return first, missing
}
