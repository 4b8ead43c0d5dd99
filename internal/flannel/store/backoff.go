package store

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is the time between tries, which doubles from one to the next. The
// zero value goes from 100 ms to 5 s.
type Backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Wait waits before the next try, or until ctx ends. Half of the time is left
// to chance, so that those whom one outage has hit do not come back together.
func (b *Backoff) Wait(ctx context.Context) error {
	t := time.NewTimer(spread(b.Next()))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Next returns how long to wait before the next try.
func (b *Backoff) Next() time.Duration {
	lo, hi := b.Min, b.Max
	if hi == 0 {
		lo, hi = 100*time.Millisecond, 5*time.Second
	}
	d := min(max(b.next, lo), hi)
	b.next = 2 * d
	return d
}

// Reset begins anew after a success.
func (b *Backoff) Reset() { b.next = 0 }

func spread(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// Retry calls try until it succeeds, and tells report of each failure.
func Retry(ctx context.Context, b Backoff, report func(error), try func() error) error {
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		report(err)
		if err := b.Wait(ctx); err != nil {
			return err
		}
	}
}
