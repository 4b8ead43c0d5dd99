//go:build linux

package benchmark

import (
	"errors"
	"math"
	"time"
)

// lossless looks for the highest rate at which nothing is lost in a window of
// a quarter of the round. If there is no time to find any there is no figure.
func lossless(size int) func(*Way, time.Duration) (Figures, error) {
	return func(w *Way, round time.Duration) (Figures, error) {
		flood, err := newFlood(w, size)
		if err != nil {
			return nil, err
		}
		defer flood.close()
		s := search{
			try:   func(rate float64) (flooded, error) { return flood.run(rate, round/4) },
			until: time.Now().Add(4 * round),
		}
		err = s.run()
		if errors.Is(err, errSearched) && s.best.sent == 0 {
			return Figures{}, nil
		}
		if err != nil && !errors.Is(err, errSearched) {
			return nil, err
		}
		return s.best.figures(size), nil
	}
}

// search looks for the highest rate without loss.
type search struct {
	try   func(rate float64) (flooded, error)
	until time.Time // when it has to be content with what it has
	best  flooded   // of those without loss
}

// errSearched ends a search for want of time.
var errSearched = errors.New("out of time")

const (
	// What is lost once may have been the machine's doing, so a rate gets a
	// second chance, but not one that lost more than these percent.
	chances  = 2
	accident = 10
	// A search ends when it has the rate within this factor.
	closeEnough = 1.05
	// Where even this part of the first rate loses, there is no rate.
	hopeless = 1.0 / 4096
)

// run tries without a limit first: what makes its sender wait loses nothing at
// all. If that loses, the rate lies between 0 and what was sent then, perhaps
// near what was received.
func (s *search) run() error {
	first, err := s.attempt(0)
	if err != nil || s.best.sent > 0 {
		return err
	}
	low, high := 0.0, float64(first.sent)/first.sending.Seconds()
	floor := high * hopeless
	for rate := max(floor, first.rate()); high > low*closeEnough && rate >= floor; rate = between(low, high) {
		out, err := s.attempt(rate)
		if err != nil {
			return err
		}
		if out.received < out.sent {
			high = rate
		} else {
			low = rate
		}
	}
	return nil
}

// between is where to try next: loss begins at a rate of unknown magnitude, so
// the middle is the geometric one.
func between(low, high float64) float64 {
	if low == 0 {
		return high / 2
	}
	return math.Sqrt(low * high)
}

// attempt tries a rate until nothing is lost or its chances are used up.
func (s *search) attempt(rate float64) (out flooded, err error) {
	for range chances {
		if time.Now().After(s.until) {
			return out, errSearched
		}
		if out, err = s.try(rate); err != nil || out.lost() > accident {
			return out, err
		}
		if out.received == out.sent && out.sent > 0 {
			if out.rate() > s.best.rate() {
				s.best = out
			}
			return out, nil
		}
	}
	return out, nil
}
