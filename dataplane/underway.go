package dataplane

import "time"

// underway compares what programs have left to a queue, which they count before they
// note the time, with what was read from it. A core may stand still between the two and
// the queue for as long as it likes, a virtual machine's above all: a queue that was
// empty meanwhile says nothing of the packet that is yet to come.
//
// What programs leave uncounted, of flows that they do not know, is read too: there are
// never more counted packets among those read than there are. And what they count may
// be dropped on its way: as many as are always missing are lost.
type underway struct {
	read uint64 // counted packets that were read or lost, at most

	least uint64 // packets that have been missing whenever that was looked at; 0 if none have
	begun uint64 // since when, a time of shortcut.Now
	left  uint64 // what had been left when it was looked at last
	since uint64 // when it was that first
	times int    // it was something else than before
}

const (
	// lostAfter is longer than a core stands still, unless its machine does.
	lostAfter = 10 * time.Millisecond
	// lostTimes is more often than a core stands still whenever the queue is empty.
	lostTimes = 32
)

// took is told of n packets that were read, and how many have been left until now.
func (u *underway) took(n int, left uint64) {
	if u.read += uint64(n); int64(u.read-left) > 0 {
		u.read = left
	}
}

// nothing reports whether all is read that had been left when there was as much as
// left, at a time: before the queue was found empty.
func (u *underway) nothing(left, at uint64) bool {
	missing := left - u.read
	if int64(missing) <= 0 {
		u.least = 0
		return true
	}
	if u.least == 0 {
		u.least, u.begun, u.times, u.left = missing, at, 0, left-1
	}
	u.least = min(u.least, missing)
	if left != u.left {
		u.left, u.since = left, at
		u.times++
	}
	if u.times < lostTimes && at-u.since < uint64(lostAfter) || at-u.begun < uint64(lostAfter) {
		return false
	}
	lost := u.least
	u.read, u.least = u.read+lost, 0
	return missing == lost
}

// forget is for a queue of which nobody knows how much it has lost.
func (u *underway) forget(left uint64) {
	u.least = 0
	if int64(left-u.read) > 0 {
		u.read = left
	}
}
