package registry

import (
	"maps"
	"slices"

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
	missing  map[string]struct{} // absent from a store that came back without them
}

// apply turns changes of the store into events.
func (t *table) apply(changes []store.Change, malformed func(Malformed)) (events []Event) {
	for _, c := range changes {
		name := t.registry.name(c.Pair)
		if c.Deleted {
			events = t.remove(events, name)
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

func (t *table) set(events []Event, l lease.Lease) []Event {
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
// has become malformed is still its node's, and stays as it was. What a store
// that begins anew does not have is only noted as missing.
func (t *table) reset(snap Snapshot) (events []Event) {
	anew := t.anew(snap)
	present := map[string]struct{}{}
	for _, m := range snap.Malformed {
		present[m.Name] = struct{}{}
	}
	for _, l := range snap.Leases {
		present[l.Name] = struct{}{}
		events = t.set(events, l)
	}
	for _, name := range slices.Sorted(maps.Keys(t.leases)) {
		if _, ok := present[name]; ok {
			continue
		}
		if _, known := t.missing[name]; anew || known {
			t.missing[name] = struct{}{}
		} else {
			events = t.remove(events, name)
		}
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

// newest returns the lease that changed last.
func (t *table) newest() (last lease.Lease) {
	for _, l := range t.leases {
		if l.Revision > last.Revision {
			last = l
		}
	}
	return last
}

// forget removes what is still missing.
func (t *table) forget() (events []Event) {
	for _, name := range slices.Sorted(maps.Keys(t.missing)) {
		events = t.remove(events, name)
	}
	return events
}
