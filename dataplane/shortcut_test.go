package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/routetable"
)

// TestBusyTable has flows of one table told of when they are busy, once for each
// lease and each change of the link.
func TestBusyTable(t *testing.T) {
	const lease = shortcut.Lease
	inRow := func(n uint32) uint32 { return n<<16 | 0x15 ^ n } // the nth hash of the row of 0x15
	type step struct {
		hash    uint32
		frames  uint32
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
		"four in a row":              {{inRow(0), 15, 0, 0, false}, {inRow(1), 15, 0, 0, false}, {inRow(2), 15, 0, 0, false}, {inRow(3), 15, 0, 0, false}, {inRow(0), 1, 0, 0, true}, {inRow(3), 1, 0, 0, true}},
		"the fifth takes the first":  {{inRow(0), 15, 0, 0, false}, {inRow(1), 15, 1, 0, false}, {inRow(2), 15, 1, 0, false}, {inRow(3), 15, 1, 0, false}, {inRow(4), 15, 2, 0, false}, {inRow(1), 1, 2, 0, true}, {inRow(0), 1, 2, 0, false}},
		"a neighbour does not":       {{0x15, 15, 0, 0, false}, {0x16, 15, 0, 0, false}, {0x15, 1, 0, 0, true}, {0x16, 1, 0, 0, true}},
		"it was told of, and is not": {{inRow(0), 16, 0, 0, true}, {inRow(1), 16, 1, 0, true}, {inRow(2), 16, 1, 0, true}, {inRow(3), 16, 1, 0, true}, {inRow(4), 16, 1, 0, true}, {inRow(0), 16, 1, 0, true}},
	} {
		var table busyTable
		for i, s := range steps {
			if got := table.more(s.hash, s.frames, s.at, s.version); got != s.want {
				t.Errorf("%s: step %d: told %v, want %v", name, i, got, s.want)
			}
		}
	}
}

// TestBusyTableRenews has a flow that was told of be told of again with the first
// frame after its lease, and not one that was not, nor one that has been quiet.
func TestBusyTableRenews(t *testing.T) {
	const lease = shortcut.Lease
	table := busyTable{renews: true}
	for i, s := range []struct {
		frames uint32
		at     time.Duration
		want   bool
	}{
		{15, 0, false},         // not told of
		{1, lease, false},      // so it begins again
		{15, lease + 1, true},  // and holds until 2*lease + 1
		{1, 2 * lease, false},  // still does
		{1, 2*lease + 1, true}, // not any more
		{1, 2*lease + 2, false},
		{1, 4*lease + 1, false}, // quiet for a lease
	} {
		if got := table.more(7, s.frames, s.at, 3); got != s.want {
			t.Errorf("step %d: told %v, want %v", i, got, s.want)
		}
	}
}

// TestBusyTableAgain has a program not take what it is told: the next frame asks again.
func TestBusyTableAgain(t *testing.T) {
	var table busyTable
	for _, frames := range []uint32{busyFrames, 1, 1} {
		if !table.more(7, frames, 0, 3) {
			t.Fatalf("it is not to be told of with %d more", frames)
		}
		table.again(7)
		table.again(8) // not there
	}
}

// TestStationHash has neighbouring addresses, of either end, and MACs in rows of their own.
func TestStationHash(t *testing.T) {
	used := map[uint32]int{}
	const n = 256
	for i := range byte(n - 1) {
		mac := routetable.MAC{2, 0, 0, 0, 0, 1}
		from, to := netip.AddrFrom4([4]byte{10, 0, 0, 1}), netip.AddrFrom4([4]byte{10, 0, 0, 2})
		from6 := netip.MustParseAddr("fd00::1").As16()
		from6[15] = i
		for _, hash := range []uint32{
			stationHash(routetable.MAC{2, 0, 0, 0, 0, i}, from, to),
			stationHash(mac, netip.AddrFrom4([4]byte{10, 0, 0, i}), to),
			stationHash(mac, from, netip.AddrFrom4([4]byte{10, 0, i, 2})),
			stationHash(mac, netip.AddrFrom16(from6), to),
		} {
			used[(hash^hash>>16)%512]++
		}
	}
	if len(used) < 350 { // of 512; 443 if they were random
		t.Errorf("%d flows are in %d of 512 rows", 4*n, len(used))
	}
}
