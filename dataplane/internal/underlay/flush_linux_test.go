//go:build !portable

package underlay

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// runs queues n runs of four datagrams each, every run with a TOS of its own.
// The two in the middle of a run lie side by side in memory.
func runs(s *Sender, f *Flow, n int) (want []wired) {
	for i := range n {
		f.TOS = uint8(4 * (i + 1))
		mark := byte(4 * i)
		pair := append(filled(100, mark+1), filled(100, mark+2)...)
		want = append(want, queue(s, f, filled(100, mark), pair[:100], pair[100:], filled(99, mark+3))...)
	}
	return want
}

// sentBytes is what runs of four have together.
func sentBytes(n int) int { return n * (3*100 + 99) }

// TestPartialSends: what a call did not take is sent by the next.
func TestPartialSends(t *testing.T) {
	for _, most := range []int{1, 2, 3, 7} {
		s, k := script(t)
		k.limit = func(int) int { return most }
		book := &ledger{}
		want := runs(s, flowTo(fakeSocket(3), book, 4789), 7)
		s.Flush()
		wantWire(t, k, want)
		wantLedger(t, book, 28, sentBytes(7), 0)
		calls := (7 + most - 1) / most
		if len(k.calls) != calls || int(s.Sends.Load()) != calls || s.GSO.Load() != 7 {
			t.Errorf("%d at a time: %d calls (want %d), counted %d; %d messages with UDP_SEGMENT", most, len(k.calls), calls, s.Sends.Load(), s.GSO.Load())
		}
	}
}

// refuseSegments is a kernel that does not do UDP_SEGMENT from its n-th
// message on.
func refuseSegments(k *kernel, n int, errno unix.Errno) {
	k.refuse = func(_ int, e *entry) unix.Errno {
		if e.segment != 0 && len(k.wire) >= 4*n {
			return errno
		}
		return 0
	}
}

// TestEIO: a kernel that does not do UDP_SEGMENT after all loses nothing,
// repeats nothing, and is not asked again.
func TestEIO(t *testing.T) {
	for _, before := range []int{0, 2, 4} {
		s, k := script(t)
		refuseSegments(k, before, unix.EIO)
		var told []error
		s.OnNoGSO = func(err error) { told = append(told, err) }
		book := &ledger{}
		flow := flowTo(fakeSocket(3), book, 4789)
		want := runs(s, flow, 5)
		s.Flush()
		wantWire(t, k, want)
		wantLedger(t, book, 20, sentBytes(5), 0)
		if !s.NoGSO || len(told) != 1 || !errors.Is(told[0], unix.EIO) {
			t.Errorf("after %d runs: switched off %v, told %v", before, s.NoGSO, told)
		}
		k.calls = nil
		want = append(want, runs(s, flow, 3)...)
		s.Flush()
		wantWire(t, k, want)
		wantLedger(t, book, 32, sentBytes(8), 0)
		for _, e := range k.entries() {
			if e.segment != 0 {
				t.Errorf("later: %v", &e)
			}
		}
		if len(k.calls) != 1 || len(told) != 1 {
			t.Errorf("later: %d calls, told %d times", len(k.calls), len(told))
		}
	}
}

// TestSegmentsRefused: a run is sent one by one when it is the run that the
// kernel minds, and the next run is tried again.
func TestSegmentsRefused(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EMSGSIZE} {
		s, k := script(t)
		tries := 0
		k.refuse = func(_ int, e *entry) unix.Errno {
			if e.segment == 0 || e.tos != 8 {
				return 0
			}
			if e.first {
				tries++
			}
			return errno
		}
		s.OnNoGSO = func(err error) { t.Error(err) }
		book := &ledger{}
		want := runs(s, flowTo(fakeSocket(3), book, 4789), 3)
		s.Flush()
		wantWire(t, k, want)
		wantLedger(t, book, 12, sentBytes(3), 0)
		if s.NoGSO || tries != 1 || s.GSO.Load() != 2 {
			t.Errorf("%v: switched off %v, %d tries, %d messages with UDP_SEGMENT", errno, s.NoGSO, tries, s.GSO.Load())
		}
	}
}

// TestTooLarge: datagrams that the path does not carry are dropped, each for
// itself, and those before and behind them are not.
func TestTooLarge(t *testing.T) {
	s, k := script(t)
	k.refuse = func(_ int, e *entry) unix.Errno {
		if e.segment > 99 || len(e.data) > 99 && e.segment == 0 {
			return unix.EMSGSIZE
		}
		return 0
	}
	book := &ledger{}
	flow := flowTo(fakeSocket(3), book, 4789)
	want := queue(s, flow, filled(50, 1))
	runs(s, flow, 1)
	want = append(want, wired{3, flow.Remote, 4, string(filled(99, 3))})
	flow.TOS = 0
	want = append(want, queue(s, flow, filled(50, 2))...)
	s.Flush()
	wantWire(t, k, want)
	if book.frames != 3 || book.dropped != 3 || len(book.why) == 0 {
		t.Fatalf("booked %d sent, %d dropped", book.frames, book.dropped)
	}
	for _, why := range book.why {
		if !errors.Is(why, unix.EMSGSIZE) {
			t.Errorf("dropped for %v", why)
		}
	}
}

// TestRefused: an entry that the kernel refuses costs only itself.
func TestRefused(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ECONNREFUSED, unix.EINVAL, unix.EMSGSIZE, unix.EIO} {
		s, k := script(t)
		k.refuse = func(_ int, e *entry) unix.Errno {
			if e.to.Port() == 666 {
				return errno
			}
			return 0
		}
		socket, good, bad := fakeSocket(3), &ledger{}, &ledger{}
		var want []wired
		for i := range 10 {
			want = append(want, queue(s, flowTo(socket, good, uint16(i)), filled(100, byte(i)))...)
			queue(s, flowTo(socket, bad, 666), filled(100, 0))
		}
		s.Flush()
		wantWire(t, k, want)
		wantLedger(t, good, 10, 1000, 0)
		wantLedger(t, bad, 0, 0, 10)
		if s.NoGSO {
			t.Errorf("%v of single datagrams switched UDP_SEGMENT off", errno)
		}
		for _, why := range bad.why {
			if !errors.Is(why, errno) {
				t.Errorf("dropped for %v, want %v", why, errno)
			}
		}
	}
}

// passing is an error that goes away after it was told some times.
func passing(errno unix.Errno, times int, when func(*entry) bool) func(int, *entry) unix.Errno {
	return func(_ int, e *entry) unix.Errno {
		if !when(e) || times == 0 {
			return 0
		}
		if e.first {
			times--
		}
		return errno
	}
}

// TestFullQueue: a queue that drains meanwhile costs nothing; one that does
// not is tried four times in all, and costs one entry.
func TestFullQueue(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOBUFS, unix.EAGAIN} {
		second := func(e *entry) bool { return e.tos == 8 }
		for times := range 5 {
			s, k := script(t)
			k.refuse = passing(errno, times, second)
			book := &ledger{}
			want := runs(s, flowTo(fakeSocket(3), book, 4789), 3)
			s.Flush()
			if times < 4 {
				wantWire(t, k, want)
				wantLedger(t, book, 12, sentBytes(3), 0)
				continue
			}
			wantWire(t, k, append(want[:4:4], want[8:]...))
			wantLedger(t, book, 8, sentBytes(2), 4)
			if calls := 1 + 4 + 1; !errors.Is(book.why[0], errno) || len(k.calls) != calls {
				t.Errorf("%v: dropped for %v after %d calls, want %d", errno, book.why, len(k.calls), calls)
			}
		}
	}
}

// Each entry has its own tries.
func TestFullQueueAgainAndAgain(t *testing.T) {
	s, k := script(t)
	tries := map[int]int{}
	k.refuse = func(_ int, e *entry) unix.Errno {
		if tries[e.tos] == 3 {
			return 0
		}
		if e.first {
			tries[e.tos]++
		}
		return unix.ENOBUFS
	}
	book := &ledger{}
	want := runs(s, flowTo(fakeSocket(3), book, 4789), 5)
	s.Flush()
	wantWire(t, k, want)
	wantLedger(t, book, 20, sentBytes(5), 0)
}

// TestInterrupted: a signal costs nothing, however often one comes.
func TestInterrupted(t *testing.T) {
	s, k := script(t)
	k.refuse = passing(unix.EINTR, 50, func(e *entry) bool { return e.tos == 8 })
	book := &ledger{}
	want := runs(s, flowTo(fakeSocket(3), book, 4789), 3)
	s.Flush()
	wantWire(t, k, want)
	wantLedger(t, book, 12, sentBytes(3), 0)
}

// TestSinglyRetried: datagrams that are sent one by one, because the run was
// refused, are tried again for what passes, as any other.
func TestSinglyRetried(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINTR, unix.ENOBUFS, unix.EAGAIN} {
		s, k := script(t)
		then := passing(errno, 3, func(e *entry) bool { return e.data[0] == 2 })
		k.refuse = func(call int, e *entry) unix.Errno {
			if e.segment != 0 {
				return unix.EIO
			}
			return then(call, e)
		}
		book := &ledger{}
		want := runs(s, flowTo(fakeSocket(3), book, 4789), 3)
		s.Flush()
		if len(k.wire) != len(want) {
			t.Errorf("%v: %d datagrams of %d on the wire, %d dropped", errno, len(k.wire), len(want), book.dropped)
			continue
		}
		wantWire(t, k, want)
		wantLedger(t, book, 12, sentBytes(3), 0)
	}
}

// TestNoProgress: a kernel that takes nothing and says nothing does not keep
// the Sender.
func TestNoProgress(t *testing.T) {
	s, k := script(t)
	k.limit = func(int) int { return 0 }
	book := &ledger{}
	runs(s, flowTo(fakeSocket(3), book, 4789), 3)
	s.Flush()
	if book.frames != 0 || book.dropped != 12 || len(k.calls) > 12 {
		t.Errorf("booked %d sent, %d dropped; %d calls", book.frames, book.dropped, len(k.calls))
	}
}

// TestOptionsRefused: where the socket cannot be brought to what a datagram
// wants, that is dropped and no other.
func TestOptionsRefused(t *testing.T) {
	s, k := script(t)
	socket, book := fakeSocket(-1), &ledger{} // no descriptor: every option fails
	flow := flowTo(socket, book, 4789)
	want := queue(s, flow, filled(100, 1), filled(100, 2))
	flow.DF = true
	queue(s, flow, filled(100, 3), filled(100, 4))
	flow.DF = false
	want = append(want, queue(s, flow, filled(100, 5))...)
	s.Flush()
	wantWire(t, k, want)
	wantLedger(t, book, 3, 300, 2)
	if !slices.ContainsFunc(book.why, func(err error) bool { return errors.Is(err, unix.EBADF) }) {
		t.Errorf("dropped for %v", book.why)
	}
}
