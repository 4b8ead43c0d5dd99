//go:build linux

package benchmark

import (
	"errors"
	"math"
	"testing"
	"time"
)

// capacity is a path that loses nothing up to a rate, and above it carries
// another: less, if it wastes its time on what it drops, or more, if it drops
// only some of it.
func capacity(limit, above, generator float64) func(float64) (flooded, error) {
	return func(rate float64) (flooded, error) {
		if rate == 0 || rate > generator {
			rate = generator
		}
		received := rate
		if rate > limit {
			received = min(above, rate-1)
		}
		return flooded{sent: int(rate), received: int(received), sending: time.Second, receiving: time.Second}, nil
	}
}

func TestSearchFindsTheRate(t *testing.T) {
	for _, limit := range []float64{5000, 50_000, 333_333, 900_000} {
		for _, above := range []float64{0.3, 1, 3} {
			s := search{try: capacity(limit, above*limit, 1e6), until: time.Now().Add(time.Hour)}
			if err := s.run(); err != nil {
				t.Fatal(err)
			}
			if got := s.best.rate(); got > limit || got < limit/closeEnough/1.01 {
				t.Errorf("found %.0f where nothing is lost up to %.0f, and %.1f times that is carried above", got, limit, above)
			}
		}
	}
}

// A path that makes its sender wait loses nothing, and is measured once.
func TestSearchOfAPathThatPushesBack(t *testing.T) {
	tries := 0
	try := capacity(math.Inf(1), 0, 400_000)
	s := search{until: time.Now().Add(time.Hour), try: func(rate float64) (flooded, error) {
		tries++
		return try(rate)
	}}
	if err := s.run(); err != nil || s.best.rate() != 400_000 || tries != 1 {
		t.Errorf("found %.0f in %d tries, %v", s.best.rate(), tries, err)
	}
}

// A window that lost something by accident is tried again.
func TestSearchForgivesAnAccident(t *testing.T) {
	try := capacity(300_000, 300_000, 1e6)
	seen := map[float64]bool{}
	s := search{until: time.Now().Add(time.Hour), try: func(rate float64) (flooded, error) {
		out, err := try(rate)
		if !seen[rate] {
			seen[rate] = true
			out.received--
		}
		return out, err
	}}
	if err := s.run(); err != nil || s.best.rate() < 300_000/closeEnough/1.01 {
		t.Errorf("found %.0f, %v", s.best.rate(), err)
	}
}

// A search that runs out of time has what it had; one of a path that loses
// always has nothing, and ends too.
func TestSearchEnds(t *testing.T) {
	s := search{try: capacity(1000, 1000, 1e6), until: time.Now().Add(-time.Second)}
	if err := s.run(); !errors.Is(err, errSearched) || s.best.rate() != 0 {
		t.Errorf("without time: %.0f, %v", s.best.rate(), err)
	}
	s = search{try: capacity(0, 0, 1e6), until: time.Now().Add(time.Hour)}
	if err := s.run(); err != nil || s.best.rate() != 0 {
		t.Errorf("always lossy: %.0f, %v", s.best.rate(), err)
	}
	if f := s.best.figures(64); f[kpps] != 0 || f[loss] != 0 {
		t.Errorf("figures of nothing: %v", f)
	}
}

// The clock grants its rate to a sender that comes often, and no more than a
// burst to one that comes late.
func TestTokenClock(t *testing.T) {
	c, sent := tokenClock{rate: 100_000}, 0
	for now := time.Duration(0); now <= time.Second; now += 20 * time.Microsecond {
		n := c.due(now)
		c.spend(n)
		sent += n
	}
	if sent < 99_999 || sent > 100_001 {
		t.Errorf("%d datagrams in a second, want 100000", sent)
	}
	late := 0
	for range 10 {
		n := c.due(10 * time.Second)
		c.spend(n)
		late += n
	}
	if late != burst {
		t.Errorf("%d datagrams after nine idle seconds, want %d", late, burst)
	}
	if n := (&tokenClock{}).due(0); n != batchLen {
		t.Errorf("%d at once without a limit, want %d", n, batchLen)
	}
}
