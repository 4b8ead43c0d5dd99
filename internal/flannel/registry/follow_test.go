package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
)

// follower notes what it is told, and holds each event against those before.
type follower struct {
	t         *testing.T
	told      chan string // a line for each event and each call
	malformed chan Malformed

	mu     sync.Mutex
	leases map[string]lease.Lease
}

func follow(t *testing.T, r *Registry, grace time.Duration) *follower {
	t.Helper()
	return followWith(t, r, Follower{Moment: 20 * time.Millisecond, Grace: grace})
}

// followWith follows for a moment and a grace of the test's.
func followWith(t *testing.T, r *Registry, times Follower) *follower {
	t.Helper()
	f := &follower{t: t, told: make(chan string, 10000), malformed: make(chan Malformed, 100), leases: map[string]lease.Lease{}}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- r.Follow(ctx, Follower{
			Take:      f.take,
			Malformed: func(m Malformed) { f.malformed <- m },
			Away:      func(err error) { f.told <- "away" },
			Back:      func() { f.told <- "back" },
			Moment:    times.Moment,
			Grace:     times.Grace,
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return f
}

func (f *follower) take(events []Event) {
	if len(events) == 0 {
		f.told <- "nothing"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		old, known := f.leases[e.Lease.Name]
		kind := map[Kind]string{Added: "+", Changed: "~", Removed: "-"}[e.Kind]
		if known == (e.Kind == Added) || e.Kind == Changed && (!e.Old.Same(old) || e.Old.Same(e.Lease)) || e.Kind == Removed && !e.Lease.Same(old) {
			f.t.Errorf("%s %+v after %+v", kind, e, old)
		}
		if f.leases[e.Lease.Name] = e.Lease; e.Kind == Removed {
			delete(f.leases, e.Lease.Name)
		}
		f.told <- kind + e.Lease.Name + " " + e.Lease.PublicIP.String()
	}
}

// hears waits for these lines and for none else.
func (f *follower) hears(t *testing.T, want ...string) {
	t.Helper()
	for _, line := range want {
		select {
		case got := <-f.told:
			if got != line {
				t.Fatalf("heard %q, want %q", got, line)
			}
		case <-time.After(soon):
			t.Fatalf("heard nothing, want %q", line)
		}
	}
}

func TestFollow(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		ctx := within(t)
		follow(t, r, 0).hears(t, "nothing")
		a := create(t, r, "10.3.1.0/24", "1.2.3.1")
		b := create(t, r, "10.3.2.0/24", "1.2.3.2")
		f := follow(t, r, 0)
		f.hears(t, "+10.3.1.0-24 1.2.3.1", "+10.3.2.0-24 1.2.3.2")
		create(t, r, "10.3.3.0/24", "1.2.3.3")
		f.hears(t, "+10.3.3.0-24 1.2.3.3")
		a, err := r.Renew(ctx, a, TTL) // which nobody hears
		if err != nil {
			t.Fatal(err)
		}
		a.Record = at("1.2.3.9")
		if a, err = r.Renew(ctx, a, TTL); err != nil {
			t.Fatal(err)
		}
		f.hears(t, "~10.3.1.0-24 1.2.3.9")
		if err := r.Delete(ctx, b); err != nil {
			t.Fatal(err)
		}
		f.hears(t, "-10.3.2.0-24 1.2.3.2")
	})
}

func TestFollowExpiry(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		if _, err := r.Create(within(t), subnet("10.3.1.0/24"), at("1.2.3.1"), time.Second); err != nil {
			t.Fatal(err)
		}
		follow(t, r, 0).hears(t, "+10.3.1.0-24 1.2.3.1", "-10.3.1.0-24 1.2.3.1")
	})
}

// A lease that is deleted and put back at once was never away. One that another
// comes in the place of goes first.
func TestFollowRevoked(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		a := create(t, r, "10.3.1.0/24", "1.2.3.1")
		b := create(t, r, "10.3.2.0/24", "1.2.3.2")
		c := create(t, r, "10.3.3.0/24", "1.2.3.3")
		d := create(t, r, "10.3.4.0/24", "1.2.3.4")
		f := followWith(t, r, Follower{Moment: soon})
		f.hears(t, "+10.3.1.0-24 1.2.3.1", "+10.3.2.0-24 1.2.3.2", "+10.3.3.0-24 1.2.3.3", "+10.3.4.0-24 1.2.3.4")
		for _, l := range []lease.Lease{a, b, c, d} {
			if err := r.Delete(within(t), l); err != nil {
				t.Fatal(err)
			}
		}
		create(t, r, "10.3.1.0/24", "1.2.3.1")
		create(t, r, "10.3.2.0/24", "1.2.3.9")
		f.hears(t, "~10.3.2.0-24 1.2.3.9")
		create(t, r, "10.3.3.128/25", "1.2.3.8")
		f.hears(t, "-10.3.3.0-24 1.2.3.3", "+10.3.3.128-25 1.2.3.8")
		create(t, r, "10.3.5.0/24", "1.2.3.4")
		f.hears(t, "-10.3.4.0-24 1.2.3.4", "+10.3.5.0-24 1.2.3.4")
	})
}

// A lease that has gone is out of the way of one with its subnet before that comes,
// also when both changes were missed: what goes by subnets would end with none.
func TestResetInOrder(t *testing.T) {
	at := func(name, node string) lease.Lease {
		l := lease.Lease{Name: name, Revision: 1}
		l.IPv4, l.PublicIP = netip.MustParsePrefix("10.3.1.0/24"), netip.MustParseAddr(node)
		return l
	}
	old, other := at("10.3.1.0-24", "1.2.3.1"), at("10.3.1.0-24&fc00::-64", "1.2.3.2")
	for _, moment := range []time.Duration{0, time.Hour} {
		followed := table{leases: map[string]lease.Lease{}, missing: map[string]time.Time{}, moment: moment, grace: moment}
		followed.reset(Snapshot{Revision: 1, Leases: []lease.Lease{old}})
		other.Revision = 2
		events := followed.reset(Snapshot{Revision: 2, Leases: []lease.Lease{other}})
		if len(events) != 2 || events[0].Kind != Removed || events[0].Lease.Name != old.Name || events[1].Kind != Added {
			t.Errorf("kept for %v: %+v", moment, events)
		}
	}
}

// What others write wrongly is left out and takes nothing else with it.
func TestFollowMalformed(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		put(t, r, r.subnets+"before", "{}")
		create(t, r, "10.3.1.0/24", "1.2.3.1")
		f := follow(t, r, 0)
		f.hears(t, "+10.3.1.0-24 1.2.3.1")
		put(t, r, r.subnets+"10.3.2-24", `{"PublicIP":"1.2.3.2"}`)
		put(t, r, r.subnets+"10.3.3.0-24", "junk")
		put(t, r, r.subnets+"10.3.1.0-24", "junk") // of a good one: it stays
		if err := deleteKey(t, r, "10.3.2-24"); err != nil {
			t.Fatal(err)
		}
		create(t, r, "10.3.4.0/24", "1.2.3.4")
		f.hears(t, "+10.3.4.0-24 1.2.3.4")
		for _, want := range []string{"before", "10.3.2-24", "10.3.3.0-24", "10.3.1.0-24"} {
			if m := <-f.malformed; m.Name != want {
				t.Errorf("%+v, want %s", m, want)
			}
		}
		put(t, r, r.subnets+"10.3.1.0-24", `{"PublicIP":"1.2.3.1"}`) // as it was
		put(t, r, r.subnets+"10.3.3.0-24", `{"PublicIP":"1.2.3.3"}`)
		f.hears(t, "+10.3.3.0-24 1.2.3.3")
	})
}

func deleteKey(t *testing.T, r *Registry, name string) error {
	t.Helper()
	read, err := r.store.Read(within(t), r.subnets+name)
	if err != nil || len(read.Pairs) != 1 {
		t.Fatal(read, err)
	}
	return r.store.Delete(within(t), r.subnets+name, read.Pairs[0].Revision)
}

// away is a network whose follower can be cut off, and a way to it that stays.
type away struct {
	server         *etcdtest.Server
	cut, reachable *Registry
}

func eachAway(t *testing.T, test func(t *testing.T, n away)) {
	t.Helper()
	for name, api := range map[string]int{"v3": 3, "v2": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			s := etcdtest.Test(t, etcdtest.Config{})
			test(t, away{s, opened(t, s.Endpoint, "/n", api), opened(t, s.Direct(), "/n", api)})
		})
	}
}

func (n away) mend(t *testing.T) {
	t.Helper()
	if err := n.server.Mend(); err != nil {
		t.Fatal(err)
	}
}

// After an outage nothing is told twice and nothing is left out, whether or not
// the store still knows what happened meanwhile.
func TestFollowThroughOutage(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		eachAway(t, func(t *testing.T, n away) {
			ctx := within(t)
			a := create(t, n.reachable, "10.3.1.0/24", "1.2.3.1")
			c := create(t, n.reachable, "10.3.3.0/24", "1.2.3.3")
			create(t, n.reachable, "10.3.2.0/24", "1.2.3.2") // last, and there to tell that the store is the same
			f := follow(t, n.cut, 0)
			f.hears(t, "+10.3.1.0-24 1.2.3.1", "+10.3.2.0-24 1.2.3.2", "+10.3.3.0-24 1.2.3.3")
			d := create(t, n.reachable, "10.3.6.0/24", "1.2.3.6")
			if err := n.reachable.Delete(ctx, d); err != nil {
				t.Fatal(err)
			}
			f.hears(t, "+10.3.6.0-24 1.2.3.6", "-10.3.6.0-24 1.2.3.6")
			n.server.Cut()
			f.hears(t, "away")

			a.Record = at("1.2.3.9")
			if _, err := n.reachable.Renew(ctx, a, TTL); err != nil {
				t.Fatal(err)
			}
			if err := n.reachable.Delete(ctx, c); err != nil {
				t.Fatal(err)
			}
			create(t, n.reachable, "10.3.4.0/24", "1.2.3.4")
			if compacted {
				compact(t, n)
			}
			n.mend(t)
			got := map[string]bool{}
			for range 4 {
				select {
				case line := <-f.told:
					got[line] = true
				case <-time.After(soon):
					t.Fatal("heard only", got)
				}
			}
			for _, want := range []string{"back", "~10.3.1.0-24 1.2.3.9", "-10.3.3.0-24 1.2.3.3", "+10.3.4.0-24 1.2.3.4"} {
				if !got[want] {
					t.Errorf("compacted %v: heard %v, want %s", compacted, got, want)
				}
			}
			create(t, n.reachable, "10.3.5.0/24", "1.2.3.5")
			f.hears(t, "+10.3.5.0-24 1.2.3.5")
		})
	}
}

// A store that lost everything does not take the peers with it: those who put
// their leases there again are never missed, and those who do not are given up.
func TestFollowEmptiedStore(t *testing.T) {
	eachAway(t, func(t *testing.T, n away) {
		create(t, n.reachable, "10.3.1.0/24", "1.2.3.1")
		create(t, n.reachable, "10.3.2.0/24", "1.2.3.2")
		create(t, n.reachable, "10.3.3.0/24", "1.2.3.3")
		f := follow(t, n.cut, 4*time.Second)
		f.hears(t, "+10.3.1.0-24 1.2.3.1", "+10.3.2.0-24 1.2.3.2", "+10.3.3.0-24 1.2.3.3")
		n.server.Stop()
		f.hears(t, "away")
		if err := n.server.Forget(); err != nil {
			t.Fatal(err)
		}
		if err := n.server.Run(); err != nil {
			t.Fatal(err)
		}
		f.hears(t, "back")
		create(t, n.reachable, "10.3.3.0/24", "1.2.3.3")
		create(t, n.reachable, "10.3.1.0/24", "1.2.3.9")
		f.hears(t, "~10.3.1.0-24 1.2.3.9", "-10.3.2.0-24 1.2.3.2")
	})
}

// A store that lost everything may by now count higher than the old one did.
func TestFollowStoreThatCountsFurther(t *testing.T) {
	eachAway(t, func(t *testing.T, n away) {
		create(t, n.reachable, "10.3.1.0/24", "1.2.3.1")
		f := follow(t, n.cut, 0)
		f.hears(t, "+10.3.1.0-24 1.2.3.1")
		n.server.Stop()
		f.hears(t, "away")
		if err := n.server.Forget(); err != nil {
			t.Fatal(err)
		}
		n.startCut(t)
		for i := range 20 {
			create(t, n.reachable, fmt.Sprintf("10.3.%d.0/24", 100+i), "1.2.3.9")
		}
		n.mend(t)
		seen := map[string]bool{}
		for !seen["back"] || len(seen) < 21 {
			select {
			case line := <-f.told:
				if strings.HasPrefix(line, "-") {
					t.Fatal(line)
				}
				seen[line] = true
			case <-time.After(soon):
				t.Fatalf("heard only %v", seen)
			}
		}
	})
}

// startCut starts a stopped server that only Direct reaches.
func (n away) startCut(t *testing.T) {
	t.Helper()
	if err := n.server.RunCut(); err != nil {
		t.Fatal(err)
	}
}

// Of two ways to the store one breaks, whichever the follower uses.
func TestFollowByAnotherEndpoint(t *testing.T) {
	for name, api := range map[string]int{"v3": 3, "v2": 2} {
		t.Run(name, func(t *testing.T) {
			s := etcdtest.Test(t, etcdtest.Config{})
			far := opened(t, s.Direct(), "/n", api)
			first, err := s.Open("127.0.0.1:0", nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Open(Options{Options: store.Options{Endpoints: []string{"http://" + first.Addr(), s.Endpoint}}, Prefix: "/n", API: api})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			f := follow(t, r, 0)
			f.hears(t, "nothing")
			first.Cut()
			create(t, far, "10.3.1.0/24", "1.2.3.1")
			for line := ""; line != "+10.3.1.0-24 1.2.3.1"; {
				select {
				case line = <-f.told: // perhaps away and back before
				case <-time.After(soon):
					t.Fatal("heard nothing")
				}
			}
		})
	}
}
