package conformance

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/lab"
)

// figures are those of `ip -s link` that both kinds of link have.
type figures struct {
	rxPackets, rxBytes, rxErrors uint64
	txPackets, txBytes, txErrors uint64
	// Of the kernel's device only what it counts itself; of weft also what
	// the kernel's device loses without a word.
	rxDropped, txDropped uint64
}

// figures reads them.
func (l *link) figures(t *testing.T) figures {
	t.Helper()
	if l.kind == kernel {
		s, err := l.Stats(l.dev)
		check(t, err)
		return figures{
			rxPackets: s.RxPackets, rxBytes: s.RxBytes, rxErrors: s.RxErrors, rxDropped: s.RxDropped,
			txPackets: s.TxPackets, txBytes: s.TxBytes, txErrors: s.TxErrors, txDropped: s.TxDropped,
		}
	}
	type direction struct{ Packets, Bytes, Errors, Dropped uint64 }
	var shown []struct {
		Stats struct{ RX, TX direction } `json:"stats64"`
	}
	out := must(l.weft.Must("link", "show", l.dev, "-s", "-j"))(t)
	if err := json.Unmarshal([]byte(out), &shown); err != nil || len(shown) != 1 {
		t.Fatalf("link show %s -s -j: %d links, %v", l.dev, len(shown), err)
	}
	rx, tx := shown[0].Stats.RX, shown[0].Stats.TX
	return figures{
		rxPackets: rx.Packets, rxBytes: rx.Bytes, rxErrors: rx.Errors, rxDropped: rx.Dropped,
		txPackets: tx.Packets, txBytes: tx.Bytes, txErrors: tx.Errors, txDropped: tx.Dropped,
	}
}

// drops are weft's, by reason; the kernel's device has none.
func (l *link) drops(t *testing.T) map[string]uint64 {
	t.Helper()
	if l.kind == kernel {
		return map[string]uint64{}
	}
	var s dataplane.Stats
	check(t, json.Unmarshal([]byte(must(l.weft.Must("stats", l.dev, "-j"))(t)), &s))
	return s.Drops
}

// awaitFigure waits until one figure of a link has a value.
func (l *link) awaitFigure(t *testing.T, name string, of func(figures) uint64, want uint64) {
	t.Helper()
	if err := lab.Eventually(waitLimit, func() error {
		if got := of(l.figures(t)); got != want {
			return fmt.Errorf("%s of %s is %d, want %d", name, l.dev, got, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
