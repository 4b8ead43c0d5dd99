package count

import (
	"sync"
	"testing"
	"unsafe"
)

// One goroutine counts while others look: they never see it go back, nor a
// number that was not there.
func TestCounter(t *testing.T) {
	var c Counter
	var wait sync.WaitGroup
	const steps, step = 10000, 3
	for range 3 {
		wait.Go(func() {
			for last := uint64(0); last < steps*step; {
				v := c.Load()
				if v < last || v%step != 0 {
					t.Errorf("%d after %d", v, last)
					return
				}
				last = v
			}
		})
	}
	for range steps {
		c.Add(step)
	}
	wait.Wait()
	if c.Load() != steps*step {
		t.Errorf("%d, want %d", c.Load(), steps*step)
	}
}

// TestAligned: a Counter may stand anywhere in a struct, on 32-bit machines
// too, where a 64-bit store that is not aligned panics.
func TestAligned(t *testing.T) {
	var s struct {
		before uint32
		c      Counter
		among  [3]struct {
			flag bool
			c    Counter
		}
	}
	for _, c := range []*Counter{&s.c, &s.among[0].c, &s.among[1].c, &s.among[2].c} {
		if at := uintptr(unsafe.Pointer(c)); at%8 != 0 {
			t.Errorf("counter at %#x", at)
		}
		c.Add(1)
		if c.Load() != 1 {
			t.Errorf("%d, want 1", c.Load())
		}
	}
	s.before = 1
}
