package conformance

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// tally counts the frames that come in by a device.
type tally struct {
	name    string
	capture *lab.Capture
}

func newTally(t *testing.T, h *lab.Host, dev string) *tally {
	t.Helper()
	return &tally{h.Name + " " + dev, lab.TestCapture(t, h, dev)}
}

// count is how many frames so far match.
func (c *tally) count(match func(lab.Frame) bool) (n int) {
	for _, f := range c.capture.Frames() {
		if !f.Outgoing && match(f) {
			n++
		}
	}
	return n
}

// await waits until n frames match.
func (c *tally) await(t *testing.T, n int, match func(lab.Frame) bool) {
	t.Helper()
	if err := lab.Eventually(waitLimit, func() error {
		if got := c.count(match); got != n {
			return fmt.Errorf("%s got %d frames, want %d", c.name, got, n)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// fences numbers the frames that tell that all before them has come.
type fences struct{ sent uint32 }

// pass sends a broadcast out of a device and waits until every tally has it:
// what went the same way before is counted by then.
func (f *fences) pass(t *testing.T, from *lab.Host, dev string, tallies ...*tally) {
	t.Helper()
	f.sent++
	payload := binary.BigEndian.AppendUint32([]byte("fence"), f.sent)
	frame := ether(broadcast, macOf(t, from, dev), typeLocal, append(payload, make([]byte, 37)...))
	check(t, from.SendFrame(dev, frame))
	for _, c := range tallies {
		_, err := c.capture.Wait(waitLimit, func(got lab.Frame) bool { return slices.Equal(got.Data, frame) })
		if err != nil {
			t.Fatalf("%s: fence from %s: %v", c.name, from.Name, err)
		}
	}
}
