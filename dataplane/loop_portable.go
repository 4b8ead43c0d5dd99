//go:build !linux || portable

package dataplane

import (
	"sync"
	"time"

	"github.com/weftnet/weft/dataplane/internal/tap"
)

// loop serves each source with a goroutine that waits in read. What they have
// read they handle one at a time: the lock stands for the thread that there is
// on Linux.
type loop struct {
	mu      sync.Mutex
	sources map[any]*served
	closed  bool
}

// served is a source and whether it still is one.
type served struct {
	source
	removed bool
}

// pause keeps a source whose read fails again and again from taking a whole
// processor.
const pause = 10 * time.Millisecond

func startLoop() (*loop, error) { return &loop{sources: map[any]*served{}}, nil }

// makeRoomFor is for loops that hold on to their thread.
func makeRoomFor(int) {}

// deviceBatch returns what the frames of one more device are read into: all
// devices are read at the same time, so each has its own.
func (l *loop) deviceBatch() *tap.Batch { return tap.NewBatch() }

// add has the loop serve what has this descriptor.
func (l *loop) add(fd any, s source) error {
	l.do(func() {
		l.sources[fd] = &served{source: s}
		go l.serve(l.sources[fd])
	})
	return nil
}

// addDozer has nothing to do: there are no rings.
func (*loop) addDozer(int, any) error { return nil }

// remove stops serving a descriptor, which then has to be closed: that ends
// the read that waits on it. It is called with the lock held, in do.
func (l *loop) remove(fd any) {
	if s := l.sources[fd]; s != nil {
		s.removed = true
		delete(l.sources, fd)
	}
}

// do runs f while nothing is handled. It reports whether f was run: not after
// close.
func (l *loop) do(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		f()
	}
	return !l.closed
}

// close ends a loop that serves nothing any more.
func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// serve reads and handles until the source is removed or fails.
func (l *loop) serve(s *served) {
	for {
		busy, err := s.read()
		if !l.turn(s, busy, err) {
			return
		}
		if !busy {
			time.Sleep(pause)
		}
	}
}

// turn handles what was read and reports whether to go on.
func (l *loop) turn(s *served, busy bool, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.removed {
		return false
	}
	if busy {
		s.handle()
	}
	if err != nil {
		s.removed = true
		s.lost(err)
	}
	return err == nil
}
