//go:build linux

package lab

import (
	"fmt"
	"time"
)

// pollEvery is short against what a test notices and long against a system call.
const pollEvery = 5 * time.Millisecond

// Eventually calls cond until it returns nil, for at most limit, and returns
// its last error if it never did. cond is called at least once.
func Eventually(limit time.Duration, cond func() error) error {
	err := cond()
	if err == nil {
		return nil
	}
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	deadline := time.After(limit)
	for {
		select {
		case <-ticker.C:
			if err = cond(); err == nil {
				return nil
			}
		case <-deadline:
			return fmt.Errorf("not within %v: %w", limit, err)
		}
	}
}
