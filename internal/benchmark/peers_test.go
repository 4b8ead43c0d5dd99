//go:build linux

package benchmark

import (
	"fmt"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// Datagrams to peers in turn all arrive, at every one of them.
func TestPeersInTurn(t *testing.T) {
	lab.NeedTUN(t)
	bed, err := NewBed(Modes()[0])
	check(t, err)
	defer func() { check(t, bed.Close()) }()
	const n = 5
	for _, p := range []Path{peers("weft", n), peers("kernel", n)} {
		if p.Ratio != "" && lab.LackOfKernelVXLAN() != nil {
			continue
		}
		w := layOn(t, bed, p)
		flood, err := newFlood(w, small)
		check(t, err)
		// A flood is over when nothing came for a moment, which on a busy machine may be
		// before all of it did.
		var out flooded
		check(t, lab.Eventually(10*time.Second, func() error {
			out, err = flood.run(2000, 50*time.Millisecond)
			if err == nil && (out.sent < n || out.received != out.sent) {
				err = fmt.Errorf("%s: %d of %d datagrams arrived", p.Name, out.received, out.sent)
			}
			return err
		}))
		flood.close()
		for i := range n {
			name := fmt.Sprintf("station%d.%d", len(bed.ways), i)
			stats, err := bed.b.Stats(name)
			check(t, err)
			// Not packets: those of a station that came together are one to its device.
			if least := uint64(out.sent / n * small); stats.RxBytes < least {
				t.Errorf("%s: %s received %d bytes, less than %d, of %d datagrams in all", p.Name, name, stats.RxBytes, least, out.sent)
			}
		}
	}
}

func TestResident(t *testing.T) {
	lab.NeedTUN(t)
	got, err := Resident(2)
	check(t, err)
	if got < 4<<20 || got > 1<<30 {
		t.Errorf("a daemon has %v bytes in memory", got)
	}
}
