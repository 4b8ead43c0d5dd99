package interop

import (
	"fmt"
	"maps"
	"testing"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/lab"
)

// figures are what a VTEP of either kind counted.
type figures struct {
	rxPackets, rxBytes uint64
	txPackets, txBytes uint64
	errors             map[string]uint64 // of the kernel's device, by their names in `ip -s`
	weft               dataplane.Stats
}

// figures reads them.
func (v *vtep) figures(t *testing.T) figures {
	t.Helper()
	if v.kind == user {
		s := v.weft.stats(v.link)
		return figures{rxPackets: s.RxPackets, rxBytes: s.RxBytes, txPackets: s.TxPackets, txBytes: s.TxBytes, weft: s}
	}
	s, err := v.Stats(v.link)
	check(t, err)
	return figures{
		rxPackets: s.RxPackets, rxBytes: s.RxBytes, txPackets: s.TxPackets, txBytes: s.TxBytes,
		errors: map[string]uint64{
			"rx_errors": s.RxErrors, "rx_frame_errors": s.RxFrameErrors, "rx_length_errors": s.RxLengthErrors,
			"tx_errors": s.TxErrors, "tx_carrier_errors": s.TxCarrierErrors, "tx_aborted_errors": s.TxAbortedErrors,
			"rx_dropped": s.RxDropped, "tx_dropped": s.TxDropped,
		},
	}
}

// drop is where a packet counts that goes no further.
type drop struct {
	reason string   // of weft's
	kernel []string // the counters of the kernel's device, often none
}

// dropped waits until n more packets count as dropped, and under nothing else.
func (v *vtep) dropped(t *testing.T, before figures, d drop, n int) {
	t.Helper()
	if v.kind == user {
		v.weft.drops(before.weft, d.reason, uint64(n))
		return
	}
	want := maps.Clone(before.errors)
	for _, name := range d.kernel {
		want[name] += uint64(n)
	}
	if err := lab.Eventually(waitLimit, func() error {
		if got := v.figures(t).errors; !maps.Equal(got, want) {
			return fmt.Errorf("counters %v, want %v", got, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// received waits until n more packets count as received: a frame is seen to
// come out of a link a moment before it counts.
func (v *vtep) received(t *testing.T, before figures, n int) {
	t.Helper()
	if err := lab.Eventually(waitLimit, func() error {
		if got := v.figures(t).rxPackets - before.rxPackets; got != uint64(n) {
			return fmt.Errorf("%d packets count as received, want %d", got, n)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// lost is the sum of all drops since before.
func (f figures) lost(before figures) (sum uint64) {
	for reason, n := range f.weft.Drops {
		sum += n - before.weft.Drops[reason]
	}
	return sum
}
