package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/lease"
)

// Whatever happens to the leases and to the way to them, the follower ends up
// with what the store has, by events of which each fits those before it.
func TestFollowRandomly(t *testing.T) {
	eachAway(t, func(t *testing.T, n away) {
		seed := time.Now().UnixNano()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(uint64(seed), 1))
		f := follow(t, n.cut, 0)
		f.hears(t, "nothing")
		held := map[string]lease.Lease{}
		for i := range 400 {
			churn(t, n, rnd, held)
			switch i % 50 {
			case 10:
				n.server.Cut()
			case 25:
				if rnd.IntN(2) == 0 {
					create(t, n.reachable, "10.3.2.0/24", "1.2.3.4") // what compact wants
					compact(t, n)
					_ = deleteKey(t, n.reachable, "10.3.2.0-24")
				}
			case 30:
				n.mend(t)
			}
		}
		f.agrees(t, held)
	})
}

// churn changes one of 40 leases.
func churn(t *testing.T, n away, rnd *rand.Rand, held map[string]lease.Lease) {
	t.Helper()
	ctx := within(t)
	s := subnet(fmt.Sprintf("10.3.%d.0/24", 100+rnd.IntN(40)))
	l, known := held[s.Key()]
	var err error
	if known && rnd.IntN(3) == 0 {
		err = n.reachable.Delete(ctx, l)
		delete(held, s.Key())
	} else if known {
		l.PublicIP = at(fmt.Sprintf("1.2.3.%d", 4+rnd.IntN(3))).PublicIP
		held[s.Key()], err = n.reachable.Renew(ctx, l, TTL)
	} else {
		held[s.Key()], err = n.reachable.Create(ctx, s, at("1.2.3.4"), TTL)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// agrees waits until the follower knows what is held.
func (f *follower) agrees(t *testing.T, held map[string]lease.Lease) {
	t.Helper()
	same := func(a, b lease.Lease) bool { return a.Same(b) }
	deadline := time.After(soon)
	for {
		f.mu.Lock()
		equal := maps.EqualFunc(f.leases, held, same)
		f.mu.Unlock()
		if equal {
			return
		}
		select {
		case <-f.told:
		case <-deadline:
			t.Fatalf("the follower has %v, the store %v", f.leases, held)
		}
	}
}
