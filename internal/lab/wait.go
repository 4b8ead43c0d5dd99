//go:build linux

package lab

import (
	"fmt"
	"time"
)

// What is waited for is looked at again after a tenth of the time waited so far,
// within these. The first is short against what a test notices and long against a
// system call. The last spares the processor where many tests wait for seconds.
const (
	pollFirst = 5 * time.Millisecond
	pollLast  = 100 * time.Millisecond
)

// Eventually calls cond until it returns nil, for at most limit, and returns
// its last error if it never did. cond is called at least once, and at the end.
func Eventually(limit time.Duration, cond func() error) error {
	begun := time.Now()
	for {
		err := cond()
		waited := time.Since(begun)
		switch {
		case err == nil:
			return nil
		case waited >= limit:
			return fmt.Errorf("not within %v: %w", limit, err)
		}
		time.Sleep(min(max(pollFirst, waited/10), pollLast, limit-waited))
	}
}
