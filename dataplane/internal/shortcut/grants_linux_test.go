//go:build !portable

package shortcut

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// TestGrant has a flow go by its grant, and no more when that is over, or its place
// another's; until then the program tells whether it is used.
func TestGrant(t *testing.T) {
	p, r := newPath(t), rand.New(rand.NewPCG(17, 18))
	f := randomFlow(r)
	f.from, f.to = randomAddr(r, f.outer4), randomAddr(r, f.outer4)
	plain := f.frame(t, 0, make([]byte, 40))
	settled := func() (g Grant) {
		g = p.tell(t, f)
		end := Now() + uint64(settle+2*Enqueue)
		check(t, lab.Eventually(waitLimit, func() error { return notYet(end) }))
		return g
	}
	g := settled()
	g.words[wordExpires].Store(Now() + 2*uint64(Lease)) // the first quarter is not over for long
	if p.sent(t, plain); g.Used() || !g.Holds() {
		t.Error("used, or over, in the first quarter")
	}
	late := func() { g.words[wordExpires].Store(Now() + uint64(Lease)*3/4) }
	for range 2 {
		late()
		if p.sent(t, plain, plain); !g.Used() || g.Used() || !g.Holds() {
			t.Error("not used, or over, or used for longer than once")
		}
	}
	over := func(name string) {
		t.Helper()
		seen := len(p.left.Frames())
		check(t, p.a.SendFrame("tap0", plain))
		if !p.came(t, seen, plain) || g.Used() || g.Holds() {
			t.Errorf("%s, and it still holds", name)
		}
	}
	g.words[wordExpires].Store(Now())
	over("it is over")
	if g.Renew(); !g.Holds() {
		t.Error("it is renewed, and does not hold")
	}
	p.link.Drained(Now() + uint64(time.Second))
	p.sent(t, plain)
	for range maxGrants {
		grants.give()
	}
	over("its place is another's")
}
