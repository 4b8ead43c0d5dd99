//go:build !portable

package underlay

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAccounts: every flow's account learns of its own datagrams, also where
// they go in one call.
func TestAccounts(t *testing.T) {
	s, k := script(t)
	var books [5]ledger
	socket := fakeSocket(3)
	for round := range 6 {
		for i := range books {
			s.Datagram(flowTo(socket, &books[i], uint16(i)), filled(100+i, 0), 10*i+round)
		}
	}
	k.refuse = passing(unix.EPERM, 2, func(e *entry) bool { return e.to.Port() == 4 })
	s.Flush()
	for i := range books {
		sent, lost := 6, 0
		if i == 4 {
			sent, lost = 4, 2
		}
		bytes := 0
		for round := 6 - sent; round < 6; round++ {
			bytes += 10*i + round
		}
		wantLedger(t, &books[i], sent, bytes, lost)
	}
}

// TestLostSuperFrame: a super-frame that takes two messages, and of which
// nothing was sent, is one frame or all of its datagrams that were lost, but
// not one for each message.
func TestLostSuperFrame(t *testing.T) {
	for name, noGSO := range map[string]bool{"in runs": false, "one by one": true} {
		s, k := script(t)
		s.NoGSO = noGSO
		k.refuse = func(int, *entry) unix.Errno { return unix.ENETUNREACH }
		book := &ledger{}
		queueSuper(t, s, flowTo(fakeSocket(3), book, 4789), 5, 10000, 100, 1)
		s.Flush()
		if book.frames != 0 || book.dropped != 1 && book.dropped != 100 {
			t.Errorf("%s: one super-frame of 100 segments is booked as %d sent, %d dropped", name, book.frames, book.dropped)
		}
	}
}

// A super-frame of which something was sent is one frame that was sent, with
// all its bytes, if nothing was lost.
func TestSuperFrameSinglySent(t *testing.T) {
	s, k := script(t)
	k.refuse = func(_ int, e *entry) unix.Errno {
		if e.segment != 0 {
			return unix.EIO
		}
		return 0
	}
	book := &ledger{}
	flow := flowTo(fakeSocket(3), book, 4789)
	want := queueSuper(t, s, flow, 5, 10000, 100, 1)
	want = append(want, queueSuper(t, s, flow, 6, 3000, 100, 2)...)
	s.Flush()
	wantWire(t, k, want)
	wantLedger(t, book, 2, 42+10000+42+3000, 0)
}

// TestManySockets: what one socket cannot send does not keep others back, and
// each socket has its own call.
func TestManySockets(t *testing.T) {
	s, k := script(t)
	var want []wired
	books := [8]ledger{}
	for i := range 64 {
		socket := i % 8
		want = append(want, queue(s, flowTo(fakeSocketOnce(s, 10+socket), &books[socket], 4789), filled(100, byte(i)))...)
	}
	k.refuse = func(_ int, e *entry) unix.Errno {
		if e.fd == 12 {
			return unix.EPERM
		}
		return 0
	}
	s.Flush()
	wantWire(t, k, slices.DeleteFunc(want, func(w wired) bool { return w.fd == 12 }))
	for i := range books {
		if i == 2 {
			wantLedger(t, &books[i], 0, 0, 8)
			continue
		}
		wantLedger(t, &books[i], 8, 800, 0)
	}
	if len(k.calls) != 8 {
		t.Errorf("%d calls for 8 sockets", len(k.calls))
	}
}

// fakeSocketOnce is the socket with this descriptor that has messages, or a new one.
func fakeSocketOnce(s *Sender, fd int) *Socket {
	for _, socket := range s.sockets {
		if socket.fd == fd {
			return socket
		}
	}
	return fakeSocket(fd)
}
