package shortcut

import "sync/atomic"

// Grant is what a program may go by that it was told of a flow: for a Lease, and for
// another one whenever the process renews it. Flows that are not used are not
// worth that.
//
// A grant is memory that programs read and the process writes:
//
//	 0      8         16     24      32
//	+------+---------+------+-------+
//	| tag  | expires | used |   0   |
//	+------+---------+------+-------+
//
// Flows name their grant by its tag, which no other ever has; the low bits of a tag
// say where its grant is. There are fewer places than tags: a flow whose place
// another one took has none.
type Grant struct {
	words *[grantWords]atomic.Uint64
	tag   uint64
}

const (
	grantWords  = 4
	wordTag     = 0
	wordExpires = 1 // a time of Now
	wordUsed    = 2 // not 0 if a packet was carried in the last three quarters of the lease
)

// Holds reports whether programs still go by it.
func (g Grant) Holds() bool {
	return g.words[wordTag].Load() == g.tag && g.words[wordExpires].Load() > Now()
}

// Used reports whether a program has carried anything since this was last asked, but
// for the time just after that.
func (g Grant) Used() bool { return g.words[wordUsed].Swap(0) != 0 }

// End has programs not go by it any more.
func (g Grant) End() {
	if g.words[wordTag].Load() == g.tag {
		g.words[wordExpires].Store(0)
	}
}

// Renew has it hold for a Lease from now on.
func (g Grant) Renew() { g.words[wordExpires].Store(Now() + uint64(Lease)) }
