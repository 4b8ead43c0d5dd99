package subnet

import (
	"sync"
	"testing"
	"time"
)

// handClock moves when the test says so.
type handClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[chan time.Time]time.Time
	set    chan time.Duration // each timer that is set
}

func newHandClock() *handClock {
	return &handClock{now: time.Now(), timers: map[chan time.Time]time.Time{}, set: make(chan time.Duration, 1000)}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) After(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fired := make(chan time.Time, 1)
	c.timers[fired] = c.now.Add(d)
	c.set <- d
	return fired, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, fired)
	}
}

// fire lets the timers of so long pass.
func (c *handClock) fire(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for fired, when := range c.timers {
		if !when.After(c.now) {
			delete(c.timers, fired)
			fired <- c.now
		}
	}
}

// waits returns once the keeper waits for about so long.
func (c *handClock) waits(t *testing.T, about time.Duration) {
	t.Helper()
	deadline := time.After(soon)
	var last time.Duration
	for {
		select {
		case last = <-c.set:
			if (last - about).Abs() <= max(about/50, time.Second/10) {
				return
			}
		case <-deadline:
			t.Fatalf("the keeper waits for %v, want about %v", last, about)
		}
	}
}
