//go:build !portable

package dataplane

import (
	"testing"
	"time"
)

// TestLoopSleepEnds has a loop wait for nothing: it comes back by itself, since Go's
// scheduler may wait for that (longestSleep).
func TestLoopSleepEnds(t *testing.T) {
	l, err := startLoop()
	if err != nil {
		t.Fatal(err)
	}
	back := make(chan error)
	go l.do(func() {
		n, err := l.wait(-1)
		for n > 0 && err == nil { // it was woken for this
			_, _ = commandSource{l}.read()
			n, err = l.wait(-1)
		}
		back <- err
	})
	select {
	case err := <-back:
		l.close()
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * longestSleep):
		t.Error("it waits for ever")
	}
}
