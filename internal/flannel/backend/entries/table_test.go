package entries

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var errRefused = errors.New("refused")

// world is what a table programs: it refuses at random.
type world struct {
	r       *rand.Rand
	entries map[int]int
	refuses bool
	writes  int
}

func (w *world) set(part []Entry[int, int]) map[int]error {
	failed := map[int]error{}
	for _, e := range part {
		w.writes++
		if w.refuses && w.r.IntN(3) == 0 {
			failed[e.Key] = errRefused
			continue
		}
		w.entries[e.Key] = e.Value
	}
	return failed
}

func (w *world) remove(part []Entry[int, int]) map[int]error {
	failed := map[int]error{}
	for _, e := range part {
		w.writes++
		switch have, there := w.entries[e.Key]; {
		case w.refuses && w.r.IntN(3) == 0:
			failed[e.Key] = errRefused
		case !there || have != e.Value:
			failed[e.Key] = fmt.Errorf("%d is %d, not %d", e.Key, have, e.Value)
		default:
			delete(w.entries, e.Key)
		}
	}
	return failed
}

// program returns the failures of one round.
func (w *world) program(t *Table[int, int], batch int) []Failure {
	return append(t.Set(batch, w.set), t.Delete(batch, w.remove)...)
}

// TestTableAgainstModel: after rounds of claims and releases, with refusals and
// with others' changes, there is what was claimed last for each key; once that
// is so, nothing is written any more.
func TestTableAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		w, table := &world{r: r, entries: map[int]int{}}, New[int, int]()
		claims := map[int][]claim[int]{}
		drop := func(k int, peer string) {
			claims[k] = slices.DeleteFunc(claims[k], func(c claim[int]) bool { return c.peer == peer })
		}
		for range 50 {
			for range 5 {
				k, peer := r.IntN(6), fmt.Sprint(r.IntN(4))
				drop(k, peer)
				if r.IntN(3) == 0 {
					table.Release(peer, k)
					continue
				}
				v := r.IntN(3)
				claims[k] = append(claims[k], claim[int]{peer, v})
				table.Claim(peer, k, v)
			}
			w.refuses = r.IntN(2) == 0
			if r.IntN(5) == 0 {
				w.entries[r.IntN(10)] = 9
				table.Found(maps.Clone(w.entries))
			}
			failures := w.program(table, 1+r.IntN(3))
			if left := table.Settle(); left != len(failures) {
				t.Fatalf("seed %d: %d failed, %d are left", seed, len(failures), left)
			}
		}
		w.refuses = false
		if failures := w.program(table, 4); len(failures) > 0 || table.Settle() != 0 {
			t.Fatalf("seed %d: %v, %d are left", seed, failures, table.Settle())
		}
		want := map[int]int{}
		for k, c := range claims {
			if len(c) > 0 {
				want[k] = c[len(c)-1].value
			}
		}
		if !maps.Equal(w.entries, want) || table.Len() != len(want) {
			t.Fatalf("seed %d: there is %v, want %v", seed, w.entries, want)
		}
		w.writes = 0
		table.Found(maps.Clone(w.entries))
		if w.program(table, 4); w.writes > 0 {
			t.Fatalf("seed %d: %d writes of what is there already", seed, w.writes)
		}
	}
}

// TestJoin: the peers of failures are named, a few of many.
func TestJoin(t *testing.T) {
	if Join(nil) != nil {
		t.Error("no failure is an error")
	}
	var failures []Failure
	for i := range 20 {
		failures = append(failures, Failure{fmt.Sprintf("p%02d", 19-i), errRefused})
	}
	failures[0].Peer = ""
	err := Join(failures)
	for _, want := range []string{"stale entry: refused", "peer p00: refused", "peer p06: refused", "12 more"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if !errors.Is(err, errRefused) {
		t.Error("the reason is lost")
	}
}
