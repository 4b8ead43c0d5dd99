package dataplane

import (
	"testing"
	"time"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
)

// TestBusyTable has flows of one table told of when they are busy, once for each
// lease and each change of the link.
func TestBusyTable(t *testing.T) {
	const lease = shortcut.Lease
	same := uint32(0x10<<16 | 5) // in the place of 0x15
	type step struct {
		hash    uint32
		frames  int
		at      time.Duration
		version uint64
		want    bool
	}
	for name, steps := range map[string][]step{
		"too few":                    {{7, 15, 0, 0, false}},
		"enough at once":             {{7, 16, 0, 0, true}},
		"the sixteenth":              {{7, 15, 0, 0, false}, {7, 1, lease - 1, 0, true}},
		"too late":                   {{7, 15, 0, 0, false}, {7, 1, lease, 0, false}, {7, 14, lease, 0, false}, {7, 1, lease, 0, true}},
		"two super-frames":           {{7, busyFrames / 2, 0, 0, false}, {7, busyFrames / 2, 0, 0, true}},
		"once for a lease":           {{7, 16, 0, 3, true}, {7, 16, 0, 3, false}, {7, 99, lease - 1, 3, false}, {7, 15, lease, 3, false}, {7, 1, lease, 3, true}},
		"again after a change":       {{7, 16, 0, 3, true}, {7, 1, 1, 4, true}, {7, 1, 1, 4, false}},
		"a lease from when told":     {{7, 15, 0, 3, false}, {7, 1, lease - 1, 3, true}, {7, 1, 2*lease - 2, 3, false}, {7, 1, 2*lease - 1, 3, false}},
		"the first of all versions":  {{0, 16, 0, 0, true}, {0, 1, 0, 0, false}},
		"hash zero":                  {{0, 15, lease, 0, false}, {0, 1, lease, 0, true}},
		"another takes the place":    {{0x15, 15, 0, 0, false}, {same, 15, 0, 0, false}, {0x15, 1, 0, 0, false}, {same, 1, 0, 0, false}},
		"a neighbour does not":       {{0x15, 15, 0, 0, false}, {0x16, 15, 0, 0, false}, {0x15, 1, 0, 0, true}, {0x16, 1, 0, 0, true}},
		"it was told of, and is not": {{0x15, 16, 0, 0, true}, {same, 16, 0, 0, true}, {0x15, 16, 0, 0, true}},
	} {
		var table busyTable
		for i, s := range steps {
			if got := table.more(s.hash, s.frames, s.at, s.version); got != s.want {
				t.Errorf("%s: step %d: told %v, want %v", name, i, got, s.want)
			}
		}
	}
}
