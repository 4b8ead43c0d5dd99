//go:build !portable

package dataplane

import (
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/tap"
)

// loop serves descriptors on one thread. Those that had something to do lately
// are asked in every round; the kernel is asked which others have only now and
// then, and the thread sleeps only when a whole round was idle: a wake-up costs
// more than everything else that a packet meets, and reading from an empty
// descriptor costs less than polling it (0.25 µs). So the acknowledgements of
// a bulk flow are met in the round in which they arrive.
type loop struct {
	epoll, wake int
	commands    chan func()
	stopped     chan struct{}
	mu          sync.Mutex // held while wake is written to
	closed      bool

	// The thread's own.
	sources map[int32]*served
	hot     []*served
	closing bool
	events  [64]unix.EpollEvent
	batch   *tap.Batch
	dozer   dozer // nil without
}

// served is a source and how the loop finds it ready.
type served struct {
	source
	fd      int32
	hot     bool
	idle    int // turns in a row without anything
	removed bool
}

// dozer is a source that costs nothing to be asked, so it is in every round. The
// kernel tells of it only what it was asked for by doze.
type dozer interface {
	source
	// doze is called before the thread sleeps. It says for how long that may be at
	// most, negative for any time, and 0 if there is something to be done.
	doze() (limit time.Duration)
	// awake is called when it has slept.
	awake()
}

const (
	// roundsBetweenPolls bounds how long busy descriptors keep others waiting.
	roundsBetweenPolls = 16
	// patience is how many idle turns a descriptor is asked in every round for.
	patience = 64
	// longestSleep is how long the thread waits in the kernel at most. A thread that begins
	// to wait while Go's scheduler begins to stop the others, as for the garbage
	// collector, may be overlooked (Go 1.26: reentersyscall looks for that before it
	// says that it is in a system call, and stopTheWorldWithSema looks there once). Then
	// nothing else runs until it returns.
	longestSleep = time.Second
)

func startLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &loop{
		epoll: epoll, wake: wake,
		commands: make(chan func(), 16),
		stopped:  make(chan struct{}),
		sources:  map[int32]*served{},
		batch:    tap.NewBatch(),
	}
	go l.run()
	return l, l.add(wake, commandSource{l})
}

// makeRoomFor gives the scheduler a processor for each loop, which hardly ever
// lets go of its own, and two more for everything else.
func makeRoomFor(loops int) {
	if wanted := loops + 2; runtime.GOMAXPROCS(0) < wanted {
		runtime.GOMAXPROCS(wanted)
	}
}

// deviceBatch returns what the frames of one more device are read into: the
// loop reads one device after the other, so all share it.
func (l *loop) deviceBatch() *tap.Batch { return l.batch }

// add has the loop serve a descriptor.
func (l *loop) add(fd int, s source) error {
	var err error
	l.do(func() {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err == nil {
			l.sources[event.Fd] = &served{source: s, fd: event.Fd}
		}
	})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// addDozer has the loop serve one, whose descriptor wakes the thread.
func (l *loop) addDozer(fd int, d dozer) error {
	var err error
	l.do(func() {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
		if err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err == nil {
			l.dozer = d
		}
	})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// remove stops serving a descriptor. It is called on the loop's own thread.
func (l *loop) remove(fd int) {
	s := l.sources[int32(fd)]
	if s == nil {
		return
	}
	s.removed = true // it may be hot
	delete(l.sources, s.fd)
	// A descriptor of a deleted device is refused; closing it does the same.
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// do runs f on the loop's thread, between two turns, and waits for it. It
// reports whether f was run: not after close.
func (l *loop) do(f func()) bool {
	done := make(chan struct{})
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.commands <- func() { f(); close(done) }
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	l.mu.Unlock()
	select {
	case <-done:
		return true
	case <-l.stopped:
		return false
	}
}

// commandSource is the descriptor that wakes the loop for commands.
type commandSource struct{ *loop }

func (c commandSource) read() (bool, error) {
	var counter [8]byte
	_, _ = unix.Read(c.wake, counter[:])
	return len(c.commands) > 0, nil
}

func (c commandSource) handle() {
	for range len(c.commands) {
		(<-c.commands)()
	}
}

func (commandSource) lost(error) {}

// close ends the loop and waits until it has.
func (l *loop) close() {
	l.do(func() { l.closing = true })
	<-l.stopped
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		unix.Close(l.wake)
		unix.Close(l.epoll)
	}
}

// run is long because it is the one place where the order of things counts.
func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(l.stopped)
	first := <-l.commands // adds the wake descriptor
	first()
	busy := false
	for round := 0; !l.closing; round++ {
		if !busy {
			l.sleep()
		} else if round%roundsBetweenPolls == 0 {
			l.poll(0)
		}
		busy = l.serveHot()
	}
}

// serveHot gives every hot source a turn, and reports whether any had
// something to do. Those that were idle for long are let go.
func (l *loop) serveHot() (busy bool) {
	kept := l.hot[:0]
	for _, s := range l.hot {
		if !s.removed && l.serve(s) {
			busy = true
		}
		if s.hot = !s.removed && s.idle < patience; s.hot {
			kept = append(kept, s)
		}
	}
	l.hot = kept
	if l.dozer != nil && l.serveDozer() {
		busy = true
	}
	return busy
}

func (l *loop) serve(s *served) (busy bool) {
	busy, err := s.read()
	if s.idle++; busy {
		s.idle = 0
		s.handle()
	}
	if err != nil {
		l.remove(int(s.fd))
		s.lost(err)
	}
	return busy
}

// sleep waits until a source is ready.
func (l *loop) sleep() {
	if l.dozer == nil {
		l.poll(-1)
		return
	}
	l.poll(l.dozer.doze())
	l.dozer.awake()
}

func (l *loop) serveDozer() (busy bool) {
	if busy, _ = l.dozer.read(); busy {
		l.dozer.handle()
	}
	return busy
}

// poll makes those sources hot that the kernel says are ready. Waiting goes
// through the scheduler, so that the processor is free meanwhile.
func (l *loop) poll(timeout time.Duration) {
	n, err := l.wait(timeout)
	if err != nil {
		return // EINTR
	}
	for _, e := range l.events[:n] {
		if s := l.sources[e.Fd]; s != nil && !s.hot {
			s.hot, s.idle = true, 0
			l.hot = append(l.hot, s)
		}
	}
}

// wait has some of the events that there are, or none after a limit, negative for
// longestSleep. Only a dozer has it wait for less, and needs a newer Linux than 5.11 anyway.
func (l *loop) wait(limit time.Duration) (n int, err error) {
	if limit < 0 {
		limit = longestSleep
	}
	if limit%time.Millisecond == 0 {
		return unix.EpollWait(l.epoll, l.events[:], int(limit/time.Millisecond))
	}
	ts := unix.NsecToTimespec(int64(limit))
	r, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}
