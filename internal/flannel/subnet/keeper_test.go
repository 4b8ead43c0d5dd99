package subnet

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
)

type kept struct {
	lease.Lease
	why Reason
}

// keeping is a Keeper that runs.
type keeping struct {
	clock   *handClock
	kept    chan kept
	trouble chan error
	ended   chan error
	passed  time.Duration // what inTime let pass last
}

func keep(t *testing.T, n network, l lease.Lease) *keeping {
	t.Helper()
	clock := newHandClock()
	n.Now = clock.Now
	r := run(t, &Keeper{Registry: n.Registry, Lease: l, Margin: time.Hour, Timer: clock.After})
	r.clock = clock
	return r
}

func run(t *testing.T, k *Keeper) *keeping {
	t.Helper()
	r := &keeping{kept: make(chan kept, 100), trouble: make(chan error, 100), ended: make(chan error, 1)}
	k.Kept = func(l lease.Lease, why Reason) { r.kept <- kept{l, why} }
	k.Trouble = func(err error) { r.trouble <- err }
	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.ended <- k.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-finished })
	return r
}

func (r *keeping) next(t *testing.T, why Reason) lease.Lease {
	t.Helper()
	k := r.any(t)
	if k.why != why {
		t.Fatalf("kept for reason %d, want %d: %+v", k.why, why, k.Lease)
	}
	return k.Lease
}

func (r *keeping) any(t *testing.T) (k kept) {
	t.Helper()
	select {
	case k = <-r.kept:
	case err := <-r.ended:
		t.Fatal("the keeper ended:", err)
	case <-time.After(soon):
		t.Fatal("nothing was kept")
	}
	return k
}

// regained returns the lease after it was deleted. Over v2 it has another end for a
// moment before that, which the keeper may see.
func (r *keeping) regained(t *testing.T) lease.Lease {
	t.Helper()
	k := r.any(t)
	if k.why == Adopted {
		return r.next(t, Regained)
	}
	if k.why != Regained {
		t.Fatalf("kept for reason %d: %+v", k.why, k.Lease)
	}
	return k.Lease
}

// inTime lets pass whatever time the keeper waits for.
func (r *keeping) inTime(t *testing.T, why Reason) lease.Lease {
	t.Helper()
	for len(r.kept) == 0 {
		select {
		case k := <-r.kept:
			r.kept <- k
		case d := <-r.clock.set:
			r.clock.fire(d)
			r.passed = d
		case <-time.After(soon):
			t.Fatal("nothing was kept")
		}
	}
	return r.next(t, why)
}

func (r *keeping) lost(t *testing.T, to string) {
	t.Helper()
	select {
	case err := <-r.ended:
		var lost *Lost
		if !errors.As(err, &lost) || !strings.Contains(err.Error(), "belongs to node "+to+" by now") {
			t.Fatal(err)
		}
	case <-time.After(soon):
		t.Fatal("the keeper goes on")
	}
}

// mine is what the node under test holds.
func mine(t *testing.T, n network) lease.Lease {
	t.Helper()
	return n.hold(t, subnet("10.0.7.0/24"), "1.2.3.4")
}

// stands checks that the lease is in the registry as the keeper says.
func (n network) stands(t *testing.T, l lease.Lease) {
	t.Helper()
	there, found, err := n.Lease(within(t), l.Name)
	if err != nil || !found || there.Revision != l.Revision || !there.Equal(node("1.2.3.4")) || there.Permanent != l.Permanent {
		t.Fatalf("kept is %+v, in etcd is %+v %v", l, there, err)
	}
}

func TestKeeperRenews(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		l := mine(t, n)
		k := keep(t, n, l)
		for range 3 {
			k.clock.waits(t, 23*time.Hour)
			now := k.inTime(t, Renewed)
			if now.Revision == l.Revision || now.Subnet != l.Subnet || now.Expires.Before(l.Expires.Add(registry.TTL-time.Hour)) {
				t.Errorf("%+v, then %+v", l, now)
			}
			n.stands(t, now)
			l = now
		}
	})
}

func TestKeeperByTheTimeOfDay(t *testing.T) {
	server, prefix := shared.Prefix(t)
	n := reach(t, server.Endpoint, prefix, 3)
	run(t, &Keeper{Registry: n.Registry, Lease: mine(t, n), Margin: 48 * time.Hour}).next(t, Renewed)
}

// Who revokes a lease does not take the node down: it is there again.
func TestKeeperRegainsRevoked(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		l := mine(t, n)
		k := keep(t, n, l)
		for range 3 {
			if err := n.Registry.Delete(within(t), l); err != nil {
				t.Fatal(err)
			}
			l = k.regained(t)
			n.stands(t, l)
		}
	})
}

func TestKeeperRegainsExpired(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		l, err := n.Registry.Create(within(t), subnet("10.0.7.0/24"), node("1.2.3.4"), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		n.stands(t, keep(t, n, l).next(t, Regained))
	})
}

func TestKeeperLoses(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		l := mine(t, n)
		k := keep(t, n, l)
		l.Record = node("1.2.3.9")
		if _, err := n.Renew(within(t), l, registry.TTL); err != nil {
			t.Fatal(err)
		}
		k.lost(t, "1.2.3.9")
	})
}

// A reservation made while the node runs is honoured: not renewed, and not
// given an end.
func TestKeeperReserved(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		k := keep(t, n, mine(t, n))
		value, _ := node("1.2.3.4").Encode()
		n.put(t, "10.0.7.0-24", string(value))
		l := k.next(t, Adopted)
		if !l.Permanent || !l.Expires.IsZero() {
			t.Errorf("%+v", l)
		}
		k.clock.fire(100 * time.Hour)
		n.stands(t, l)
		// And taken back: it ends again, and is renewed again.
		if _, err := n.Replace(within(t), n.subnets+l.Name, value, registry.TTL, l.Revision); err != nil {
			t.Fatal(err)
		}
		if l := k.next(t, Adopted); l.Permanent || l.Expires.Sub(k.clock.Now()) < registry.TTL-time.Minute {
			t.Errorf("%+v", l)
		}
	})
}

// A record that the peers could not use is put right, and keeps the end that
// it was given.
func TestKeeperRestores(t *testing.T) {
	for _, value := range []string{`{"PublicIP":"1.2.3.4"}`, "junk"} {
		onBoth(t, func(t *testing.T, n network) {
			k := keep(t, n, mine(t, n))
			n.put(t, "10.0.7.0-24", value)
			l := k.inTime(t, Restored)
			if !l.Permanent {
				t.Errorf("%+v", l)
			}
			n.stands(t, l)
		})
	}
}

// While etcd is away it is tried again, ever less often, and of the trouble is
// told once.
func TestKeeperTriesAgain(t *testing.T) {
	for name, api := range map[string]int{"v3": 3, "v2": 2} {
		t.Run(name, func(t *testing.T) {
			server := etcdtest.Test(t, etcdtest.Config{})
			n := reachWithin(t, server.Endpoint, "/n", api, 300*time.Millisecond)
			k := keep(t, n, mine(t, reach(t, server.Direct(), "/n", api)))
			k.clock.waits(t, 23*time.Hour)
			server.Cut()
			k.clock.fire(23*time.Hour + time.Minute)
			for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
				k.clock.waits(t, wait)
				k.clock.fire(wait)
			}
			if err := <-k.trouble; !strings.Contains(err.Error(), "renew the lease of 10.0.7.0/24: etcd does not answer") {
				t.Error(err)
			}
			if err := server.Mend(); err != nil {
				t.Fatal(err)
			}
			n.stands(t, k.inTime(t, Renewed))
			if len(k.trouble) > 0 {
				t.Error("told again:", <-k.trouble)
			}
		})
	}
}

// The next trouble is tried again as soon as the first was, although nothing was
// renewed meanwhile.
func TestKeeperTriesAnew(t *testing.T) {
	eachAway(t, func(t *testing.T, server *etcdtest.Server, near, far network) {
		l := mine(t, far)
		k := keep(t, near, l)
		for range 2 {
			k.clock.waits(t, 23*time.Hour) // at the start, or since the lease is there again
			k.clock.waits(t, 23*time.Hour) // and has been looked at
			server.Cut()
			k.clock.fire(23*time.Hour + time.Minute)
			for _, wait := range []time.Duration{time.Second, 2 * time.Second} {
				k.clock.waits(t, wait)
				k.clock.fire(wait)
			}
			k.clock.waits(t, 4*time.Second)
			if err := far.Registry.Delete(within(t), l); err != nil {
				t.Fatal(err)
			}
			mend(t, server)
			l = k.next(t, Regained)
		}
	})
}

// Who writes another record again and again is answered ever less often.
func TestKeeperRival(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		k := keep(t, n, mine(t, n))
		for range 4 {
			n.put(t, "10.0.7.0-24", `{"PublicIP":"1.2.3.4"}`)
			n.stands(t, k.inTime(t, Restored))
		}
		if k.passed < 8*time.Second {
			t.Errorf("after %v still", k.passed)
		}
	})
}

// What becomes of a lease while etcd is away is seen when it is back.
func TestKeeperThroughOutage(t *testing.T) {
	eachAway(t, func(t *testing.T, server *etcdtest.Server, near, far network) {
		l := mine(t, far)
		k := run(t, &Keeper{Registry: near.Registry, Lease: l, Margin: time.Hour})

		server.Cut()
		if err := far.Registry.Delete(within(t), l); err != nil {
			t.Fatal(err)
		}
		mend(t, server)
		far.stands(t, k.next(t, Regained))

		server.Stop()
		if err := server.Forget(); err != nil {
			t.Fatal(err)
		}
		if err := server.Run(); err != nil {
			t.Fatal(err)
		}
		l = k.next(t, Regained)
		far.stands(t, l)

		server.Cut()
		if err := far.Registry.Delete(within(t), l); err != nil {
			t.Fatal(err)
		}
		far.hold(t, l.Subnet, "1.2.3.9")
		mend(t, server)
		k.lost(t, "1.2.3.9")
	})
}

// The key is free but its addresses are not. So it is where the key stands there again:
// by a write of this node's whose answer was lost, or by a person.
func TestKeeperMakesRoom(t *testing.T) {
	for name, write := range map[string]func(*testing.T, network, lease.Lease){
		"free":     func(*testing.T, network, lease.Lease) {},
		"written":  func(t *testing.T, far network, l lease.Lease) { far.hold(t, l.Subnet, "1.2.3.4") },
		"reserved": func(t *testing.T, far network, l lease.Lease) { far.put(t, l.Name, `{"PublicIP":"1.2.3.4"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			eachAway(t, func(t *testing.T, server *etcdtest.Server, near, far network) {
				l := mine(t, far)
				k := run(t, &Keeper{Registry: near.Registry, Lease: l, Margin: time.Hour})
				server.Cut()
				if err := far.Registry.Delete(within(t), l); err != nil {
					t.Fatal(err)
				}
				other := far.hold(t, subnet("10.0.7.128/25"), "1.2.3.9")
				write(t, far, l)
				mend(t, server)
				k.lost(t, "1.2.3.9")
				if names := far.names(t); len(names) != 1 || names[0] != other.Name {
					t.Error(names)
				}
			})
		})
	}
}

func eachAway(t *testing.T, test func(t *testing.T, server *etcdtest.Server, near, far network)) {
	t.Helper()
	for name, api := range map[string]int{"v3": 3, "v2": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			server := etcdtest.Test(t, etcdtest.Config{})
			test(t, server, reach(t, server.Endpoint, "/n", api), reach(t, server.Direct(), "/n", api))
		})
	}
}

func mend(t *testing.T, server *etcdtest.Server) {
	t.Helper()
	if err := server.Mend(); err != nil {
		t.Fatal(err)
	}
}
