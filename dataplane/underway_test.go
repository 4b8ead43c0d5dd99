package dataplane

import (
	"math/rand/v2"
	"testing"
	"time"
)

// standing is a queue in front of which cores stand still, with packets that they have
// counted and have yet to bring.
type standing struct {
	rand  *rand.Rand
	now   uint64
	left  uint64
	held  []uint64 // when they were noted
	until uint64   // the cores stand still
	queue int      // packets in it
}

// turn has cores do what they do until the queue is read next: two may stand still if it
// was known to be empty, for less than the time after which packets are lost.
func (q *standing) turn(known bool) {
	q.now += 1 + q.rand.Uint64N(uint64(50*time.Microsecond))
	if q.now >= q.until {
		q.held, q.queue = nil, q.queue+len(q.held)
	}
	n := q.rand.IntN(100)
	q.left, q.queue = q.left+uint64(n), q.queue+n
	switch {
	case known && q.rand.IntN(10) == 0:
		q.until = q.now + q.rand.Uint64N(uint64(lostAfter*9/10))
		for range 1 + q.rand.IntN(2) {
			q.left++
			q.held = append(q.held, q.now-1)
		}
	case len(q.held) == 0 && n == 0:
		q.queue += q.rand.IntN(3) // uncounted
	}
}

// TestUnderway has cores stand still between the count and the queue: whatever comes
// when, what they hold is not taken for read.
func TestUnderway(t *testing.T) {
	for seed := range uint64(100) {
		q := &standing{rand: rand.New(rand.NewPCG(seed, 1)), now: 1}
		var u underway
		claims, held, known := 0, 0, false
		for range 20000 {
			q.turn(known)
			left, at, n := q.left, q.now, min(64, q.queue)
			q.queue -= n
			u.took(n, q.left)
			if known = q.queue == 0 && u.nothing(left, at); !known {
				held += len(q.held)
				continue
			}
			claims++
			if len(q.held) > 0 && q.held[0] < at {
				t.Fatalf("seed %d: at %d nothing is under way, and what was noted at %d is", seed, at, q.held[0])
			}
		}
		if claims < 100 || held < 100 {
			t.Errorf("seed %d: %d times nothing is under way, %d times something", seed, claims, held)
		}
	}
}

// TestUnderwayLost has packets be counted that never come: soon they are not waited for
// any more, be there others all the time or none.
func TestUnderwayLost(t *testing.T) {
	const turn = uint64(50 * time.Microsecond)
	for _, c := range []struct {
		name  string
		every uint64 // turns from one other packet to the next, 0 for none
	}{{"none", 0}, {"few", 10}, {"many", 1}} {
		t.Run(c.name, func(t *testing.T) {
			var u underway
			left, at := uint64(3), turn // three are lost
			for n := uint64(1); !u.nothing(left, at); n++ {
				if at > 3*uint64(lostAfter)+lostTimes*c.every*turn {
					t.Fatalf("%v after three were lost they are waited for", time.Duration(at))
				}
				if at += turn; c.every > 0 && n%c.every == 0 {
					left++
					u.took(1, left)
				}
			}
			if at < uint64(lostAfter) {
				t.Errorf("after %v they are not waited for any more", time.Duration(at))
			}
			left++
			if u.nothing(left, at) {
				t.Error("one more is under way, and none is said to be")
			}
		})
	}
}

// TestUnderwayLeast has packets be lost while others come late: those are still waited
// for when the lost ones are not.
func TestUnderwayLeast(t *testing.T) {
	const turn = uint64(500 * time.Microsecond)
	var u underway
	left, late := uint64(3), uint64(0) // three are lost
	for at := turn; ; at += turn {
		late = at / turn % 2
		if left += late; u.nothing(left, at) {
			break
		}
		u.took(int(late), left)
	}
	if late != 0 {
		t.Error("nothing is under way, and one packet is")
	}
}
