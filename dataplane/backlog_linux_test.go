//go:build !portable

package dataplane

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/internal/lab"
)

// flooded is a queue that knows what happens to it, and the slot of its programs.
type flooded struct {
	t        *testing.T
	capacity int
	waiting  []uint64 // when each packet came
	lost     int      // for want of room, since that was asked
	slack    uint64   // by which holds is more than there is

	left, drained, empty uint64
	emptyings            int
}

func (q *flooded) push(now uint64) {
	q.left++
	if len(q.waiting) == q.capacity {
		q.lost++
		return
	}
	q.waiting = append(q.waiting, now)
}

func (q *flooded) take(n int) int {
	n = min(n, len(q.waiting))
	q.waiting = q.waiting[n:]
	return n
}

func (q *flooded) holds() uint64 { return uint64(len(q.waiting)) + q.slack }

func (q *flooded) overflowed(_ int, stood bool) bool {
	lost := q.lost
	q.lost = 0
	return lost > 0 && !stood
}

func (q *flooded) emptied() { q.lost = 0 }

// Left counts all: none is unknown here.
func (q *flooded) Left() uint64 { return q.left }

// Drained checks that nothing waits that came before.
func (q *flooded) Drained(at uint64) {
	if len(q.waiting) > 0 && q.waiting[0] < at {
		q.t.Fatalf("drained at %d, and what came at %d waits", at, q.waiting[0])
	}
	q.drained = at
}

func (q *flooded) Empty(until uint64) {
	if q.empty = until; until != 0 {
		q.emptyings++
	}
}

// TestBacklog has a worker read a queue in batches, more or less slowly than packets
// come: what it tells is true, whatever comes when.
func TestBacklog(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := &flooded{t: t, capacity: 100 + r.IntN(2000), slack: r.Uint64N(500)}
		b, most, overflow := backlog{}, 1+r.IntN(200), false
		for range 1000 {
			b.begin(q)
			n := q.take(64)
			b.took(q, n)
			if n < 64 && r.IntN(3) == 0 {
				most = 1 + r.IntN(200)
			}
			for range r.IntN(most) {
				q.push(shortcut.Now())
			}
			overflow = overflow || q.lost > 0
			b.handled(q, n, n < 64, q)
		}
		if q.emptyings > 0 && !overflow {
			t.Errorf("seed %d: it was emptied, and nothing was lost", seed)
		}
	}
}

// TestBacklogEmpties has a queue overflow for as long as it lets packets in: it is
// emptied until all has been read that was there, and then rests.
func TestBacklogEmpties(t *testing.T) {
	q := &flooded{t: t, capacity: 640}
	var b backlog
	turn := func(come int) {
		b.begin(q)
		n := q.take(64)
		b.took(q, n)
		for range come {
			q.push(shortcut.Now())
		}
		b.handled(q, n, n < 64, q)
	}
	for range 10 {
		turn(100)
	}
	if q.emptyings != 0 {
		t.Fatal("it is emptied, and has room")
	}
	for q.emptyings == 0 {
		turn(100)
	}
	if q.empty < b.begun+uint64(emptyFor) {
		t.Errorf("emptied until %d, from %d", q.empty, b.begun)
	}
	// What programs cannot carry comes all the same.
	began, reads := b.emptying, 0
	for q.empty != 0 {
		if turn(64); b.begun > began+uint64(shortcut.Enqueue) {
			reads += 64
		}
		if reads > 2*(q.capacity+128) {
			t.Fatalf("%d packets were read, and it is still emptied", reads)
		}
	}
	if q.drained <= began {
		t.Errorf("drained at %d, emptied since %d", q.drained, began)
	}
	ended := b.begun
	if err := untilEmptied(q, turn); err != nil {
		t.Error(err)
	}
	if b.emptying < ended+restFor*(ended-began) {
		t.Errorf("emptied from %d to %d, and again at %d", began, ended, b.emptying)
	}
	if turn(0); q.empty == 0 {
		t.Error("it is not emptied any more, and not empty")
	}
	for len(q.waiting) > 0 {
		turn(0)
	}
	if turn(0); q.empty != 0 || q.drained != b.begun {
		t.Errorf("it is empty, and told to be emptied until %d", q.empty)
	}
}

// TestBacklogStandsStill has a queue overflow only while its worker stands still: it
// is not emptied for that, nor for what came then.
func TestBacklogStandsStill(t *testing.T) {
	q := &flooded{t: t, capacity: 640}
	var b backlog
	var left, read int
	var s surplus
	turn := func(come int) (exceeds bool) {
		b.begin(q)
		n := q.take(64)
		b.took(q, n)
		for range come {
			q.push(shortcut.Now())
		}
		left, read = left+come, read+n
		exceeds = s.exceeds(uint64(q.capacity), uint64(left), n, b.stood)
		b.handled(q, n, n < 64, q)
		return exceeds
	}
	turn(10)
	for range 20 {
		b.begun -= uint64(standStill) + 1
		if turn(2000) || q.emptyings > 0 {
			t.Fatal("what came while the worker stood still counts")
		}
		for len(q.waiting) > 64 {
			if turn(50) || q.emptyings > 0 {
				t.Fatal("it is emptied, and had room")
			}
		}
	}
	for turns := range 100 {
		if turn(100) {
			if q.emptyings != 1 && turns < 15 {
				t.Errorf("%d turns of a flood, emptied %d times", turns, q.emptyings)
			}
			return
		}
	}
	t.Error("a flood does not count")
}

func untilEmptied(q *flooded, turn func(int)) error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); turn(100) {
		if q.emptyings == 2 {
			return nil
		}
	}
	return fmt.Errorf("it is not emptied again")
}

// TestSocketQueue has datagrams with a wrong checksum in a socket's queue, which the
// socket counts as it counts those that it has no room for: it is emptied for the
// latter alone.
func TestSocketQueue(t *testing.T) {
	for _, addr := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		h, to := lab.TestHost(t, "a"), netip.AddrPortFrom(addr, 4789)
		send := func(n int, o lab.DatagramOptions) {
			for range n {
				if err := h.SendUDP(netip.AddrPortFrom(addr, 40000), to, make([]byte, 100), o); err != nil {
					t.Fatal(err)
				}
			}
		}
		r := listenIn(t, h, to)
		r.SetReceiveBuffer(200 << 10)
		slot, q := &flooded{t: t}, &socketQueue{at: &listener{Receiver: r}}
		var b backlog
		turn := func() {
			b.begun = shortcut.Now() // the worker never stands still
			b.begin(slot)
			batch, _ := r.Receive()
			b.took(slot, len(batch))
			b.handled(slot, len(batch), r.Emptied(), q)
		}
		send(64, lab.DatagramOptions{})
		send(5, lab.DatagramOptions{BadChecksum: true})
		send(64, lab.DatagramOptions{})
		turn()
		turn()
		if m, err := r.Memory(); m.Dropped != 5 || r.Emptied() || err != nil {
			t.Errorf("%v: the socket dropped %d, want 5: %v", addr, m.Dropped, err)
		}
		if slot.emptyings > 0 {
			t.Errorf("%v: it is emptied for datagrams with a wrong checksum", addr)
		}
		for range 2 {
			send(600, lab.DatagramOptions{})
			turn()
		}
		if slot.emptyings != 1 {
			t.Errorf("%v: it overflows, and is emptied %d times", addr, slot.emptyings)
		}
	}
}

func listenIn(t *testing.T, h *lab.Host, at netip.AddrPort) (r *underlay.Receiver) {
	t.Helper()
	err := h.Do(func() (err error) {
		r, err = underlay.Listen(at.Addr().Is6(), at.Port())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}
