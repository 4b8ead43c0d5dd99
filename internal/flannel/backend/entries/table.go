// Package entries holds what a backend wants in a table of the kernel or of a
// link against what is there, so that only the difference is programmed.
package entries

import "slices"

// Table is one kind of entries, such as the routes of a device. Peers claim
// keys; where several want the same one, the last has it, as it would have if
// each had simply written its entry.
type Table[K, V comparable] struct {
	claims  map[K][]claim[V]
	present map[K]V
	touched map[K]struct{} // where what is wanted and what is there may differ
}

type claim[V any] struct {
	peer  string
	value V
}

// New returns an empty table.
func New[K, V comparable]() *Table[K, V] {
	return &Table[K, V]{map[K][]claim[V]{}, map[K]V{}, map[K]struct{}{}}
}

// Claim says that a peer wants an entry.
func (t *Table[K, V]) Claim(peer string, k K, v V) {
	t.claims[k] = append(without(t.claims[k], peer), claim[V]{peer, v})
	t.touched[k] = struct{}{}
}

// Release takes a peer's claim back.
func (t *Table[K, V]) Release(peer string, k K) {
	if left := without(t.claims[k], peer); len(left) > 0 {
		t.claims[k] = left
	} else {
		delete(t.claims, k)
	}
	t.touched[k] = struct{}{}
}

func without[V any](claims []claim[V], peer string) []claim[V] {
	return slices.DeleteFunc(claims, func(c claim[V]) bool { return c.peer == peer })
}

// ReleaseAll takes all claims back.
func (t *Table[K, V]) ReleaseAll() {
	for k := range t.claims {
		t.touched[k] = struct{}{}
	}
	clear(t.claims)
}

// Found says what is there, whatever was thought to be before.
func (t *Table[K, V]) Found(present map[K]V) {
	t.present = present
	clear(t.touched)
	for k := range t.claims {
		t.touched[k] = struct{}{}
	}
	for k := range present {
		t.touched[k] = struct{}{}
	}
}

// Set is called with what is to be made or changed, as many at a time as batch
// says. do returns an error for each that was not; they are asked for again at
// the next call.
func (t *Table[K, V]) Set(batch int, do func([]Entry[K, V]) map[K]error) []Failure {
	var pending []Entry[K, V]
	for k := range t.touched {
		want, wanted := t.Wanted(k)
		if have, there := t.present[k]; wanted && (!there || have != want) {
			pending = append(pending, Entry[K, V]{k, want})
		}
	}
	return t.carryOut(pending, batch, do, func(e Entry[K, V]) { t.present[e.Key] = e.Value })
}

// Delete does so with what is to be taken away, with the values that are there.
func (t *Table[K, V]) Delete(batch int, do func([]Entry[K, V]) map[K]error) []Failure {
	var pending []Entry[K, V]
	for k := range t.touched {
		_, wanted := t.Wanted(k)
		if have, there := t.present[k]; there && !wanted {
			pending = append(pending, Entry[K, V]{k, have})
		}
	}
	return t.carryOut(pending, batch, do, func(e Entry[K, V]) { delete(t.present, e.Key) })
}

// carryOut has pending done and notes, by done, what was.
func (t *Table[K, V]) carryOut(pending []Entry[K, V], batch int, do func([]Entry[K, V]) map[K]error, done func(Entry[K, V])) []Failure {
	var failures []Failure
	for part := range slices.Chunk(pending, batch) {
		failed := do(part)
		for _, e := range part {
			if err := failed[e.Key]; err != nil {
				failures = append(failures, Failure{t.peer(e.Key), err})
				continue
			}
			done(e)
		}
	}
	return failures
}

// Settle forgets what is as it is wanted, and returns how many entries are not.
func (t *Table[K, V]) Settle() int {
	for k := range t.touched {
		want, wanted := t.Wanted(k)
		if have, there := t.present[k]; wanted == there && want == have {
			delete(t.touched, k)
		}
	}
	return len(t.touched)
}

// Len returns how many entries are there.
func (t *Table[K, V]) Len() int { return len(t.present) }

// Wanted returns what peers want under a key, and whether one does.
func (t *Table[K, V]) Wanted(k K) (v V, ok bool) {
	c := t.claims[k]
	if len(c) == 0 {
		return v, false
	}
	return c[len(c)-1].value, true
}

// peer names who wants the entry, or "" if nobody does.
func (t *Table[K, V]) peer(k K) string {
	if c := t.claims[k]; len(c) > 0 {
		return c[len(c)-1].peer
	}
	return ""
}

// Entry is one key with its value.
type Entry[K, V any] struct {
	Key   K
	Value V
}

// Failure is an entry that could not be programmed.
type Failure struct {
	Peer string // that wants it; "" for one that was to be taken away
	Err  error
}
