package dataplane

import (
	"time"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/dataplane/internal/underlay"
)

// backlog is what a worker tells programs of a queue that it reads: up to when all
// that came has been read, and whether to empty it.
//
// In a flood a queue is never empty, so no flow would leave it (see shortcut). When
// it overflows, programs drop what would only wait in it, until all that is there
// has been read; then the flows leave, and it does not overflow any more.
type backlog struct {
	begun uint64 // when the batch was begun to be read, a time of shortcut.Now
	left  uint64 // what had been left to the queue then
	stood bool   // the worker stood still before that, or had nothing to do
	read  uint64 // packets so far

	mark uint64 // a time; what came before is gone once read is past; 0 if there is none
	past uint64

	emptying uint64 // since when the queue is emptied, or 0
	rest     uint64 // when that may begin again

	underway underway
	lossy    bool // it may have overflowed while the worker stood still
}

// slot is the part of shortcut.Slot by which programs are told.
type slot interface {
	Drained(at uint64)
	Empty(until uint64)
	Left() uint64
}

// queue is what is in front of a worker. Packets leave it in the order in which
// they came.
type queue interface {
	// holds is how many packets there may be in it, at most, since overflowed was
	// called.
	holds() uint64
	// overflowed reports whether there was no room for some since this was last
	// called, or emptied; n packets were read meanwhile. What came while the worker
	// stood still does not count.
	overflowed(n int, stood bool) bool
	emptied()
}

const (
	// emptyFor ends it if the worker stands still.
	emptyFor = 100 * time.Millisecond
	// restFor is how many times as long as it was emptied a queue rests from that:
	// packets that programs cannot carry may fill it again, and are not to keep
	// the others out.
	restFor = 4
	// standStill is longer than other threads keep a worker from its core, unless
	// there are many. Any queue overflows meanwhile, and has no need to be emptied:
	// the worker may be fast enough.
	standStill = 20 * time.Millisecond
)

// begin notes that a batch is begun to be read.
func (b *backlog) begin(s slot) {
	now := shortcut.Now()
	b.begun, b.stood = now, now-b.begun > uint64(standStill)
	b.left = s.Left() // not sooner: what is noted with an earlier time is counted by now
	if b.read == 0 {
		b.underway.forget(b.left) // the slot may have been another link's
	}
}

// took is told how many packets the batch has, once it is read.
func (b *backlog) took(s slot, n int) {
	b.read += uint64(n)
	b.underway.took(n, s.Left())
}

// handled is told of each batch of n packets once they have been sent on, and
// whether it was all that there was.
func (b *backlog) handled(s slot, n int, emptied bool, q queue) {
	if emptied {
		q.emptied()
		b.emptied(s)
		return
	}
	b.lossy = b.lossy || b.stood && b.left-b.underway.read+uint64(n) >= q.holds()
	over := q.overflowed(n, b.stood)
	b.passMark(s)
	if b.mark == 0 {
		b.mark, b.past = b.begun, b.read+q.holds()
	}
	if over && b.emptying == 0 && b.begun >= b.rest {
		b.emptying = shortcut.Now()
		s.Empty(b.emptying + uint64(emptyFor))
	}
}

// emptied is told that the batch was all that there was.
func (b *backlog) emptied(s slot) {
	if b.emptying != 0 || b.lossy {
		b.underway.forget(b.left)
	}
	if b.underway.nothing(b.left, b.begun) {
		s.Drained(b.begun)
	}
	b.end(s)
	b.mark, b.lossy = 0, false
}

// passMark finds that all has been read that was there at the mark.
func (b *backlog) passMark(s slot) {
	if b.mark == 0 || b.read < b.past {
		return
	}
	s.Drained(b.mark)
	if b.mark > b.emptying+uint64(shortcut.Enqueue) { // those that wait have done so since before
		b.end(s)
	}
	b.mark = 0
}

// end has packets come into the queue again.
func (b *backlog) end(s slot) {
	if b.emptying == 0 {
		return
	}
	s.Empty(0)
	if b.begun > b.emptying {
		b.rest = b.begun + restFor*(b.begun-b.emptying)
	}
	b.emptying = 0
}

// deviceQueue is in front of a link's device: the ring of a TUN device, which holds
// txqueuelen packets. Nothing waits in front of that, since Linux, up to 6.18, drops
// what finds it full and never stops the device's queue. The kernel does not tell
// quickly what it had no room for, but programs count what they leave to it: if that
// is more than was read from it by what it holds, some was lost.
type deviceQueue struct {
	link    *Link
	surplus surplus
}

func (q *deviceQueue) holds() uint64 { return uint64(q.link.attrs.Load().queueLen) }

func (q *deviceQueue) overflowed(n int, stood bool) bool {
	return q.surplus.exceeds(q.holds(), q.link.short.slot.Left(), n, stood)
}

func (q *deviceQueue) emptied() { q.surplus = surplus{left: q.link.short.slot.Left()} }

// surplus is how many packets more were left to a queue than read from it, at least,
// since that was none.
type surplus struct {
	left uint64 // until now
	over int64
}

// exceeds reports whether it is more than the queue holds, and then begins anew, as
// it does when the worker stood still.
func (s *surplus) exceeds(holds, left uint64, read int, stood bool) bool {
	s.over, s.left = max(0, s.over+int64(left-s.left)-int64(read)), left
	exceeds := s.over > int64(holds) && !stood
	if exceeds || stood {
		s.over = 0
	}
	return exceeds
}

// socketQueue is in front of a listener.
type socketQueue struct {
	at     *listener
	memory underlay.Memory
	known  bool // since it was last empty
}

// leastCharge is less than the kernel charges a socket for the smallest datagram
// (struct sk_buff and struct skb_shared_info, 576 bytes on 64-bit machines).
const leastCharge = 512

func (q *socketQueue) holds() uint64 {
	if !q.known {
		return 1 << 32
	}
	return uint64(q.memory.Charged) / leastCharge
}

// overflowed goes by what the socket has dropped. Some of that may have had a wrong
// checksum instead, which nobody is to have a queue emptied with that is not long: when
// there was no room it was full, less than two batches ago.
func (q *socketQueue) overflowed(_ int, stood bool) bool {
	before, known := q.memory, q.known
	now, err := q.at.Memory()
	q.memory, q.known = now, err == nil
	return known && q.known && !stood && now.Dropped != before.Dropped && max(now.Charged, before.Charged) >= now.Limit/2
}

func (q *socketQueue) emptied() { q.known = false }
