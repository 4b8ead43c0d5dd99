package hostroutes

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

func (r *rig) bothStand() error { return errors.Join(r.stands(route4), r.stands(route6)) }

// With the period out of the way, it is what the kernel tells that has the
// routes put back.
func TestRoutesArePutBack(t *testing.T) {
	for name, upset := range map[string]func(*testing.T, *rig){
		"removed": func(t *testing.T, r *rig) {
			check(t, r.host.DelRoute(subnet4, "eth0", neighbour4))
			check(t, r.host.DelRoute(subnet6, "eth0", neighbour6))
		},
		"replaced": func(t *testing.T, r *rig) {
			d, err := r.host.Device("eth0")
			check(t, err)
			for dst, gw := range map[netip.Prefix]netip.Addr{subnet4: other4, subnet6: other6} {
				check(t, r.host.Netlink().RouteReplace(&netlink.Route{Dst: ipNet(dst), Gw: gw.AsSlice(), LinkIndex: d.Index}))
			}
		},
		"shared": func(_ *testing.T, r *rig) { r.add(subnet6, via(other6)) },
		"flap": func(t *testing.T, r *rig) {
			// Without notice of the IPv4 route's end.
			check(t, r.host.SetDown("eth0"))
			check(t, r.host.SetUp("eth0"))
			check(t, r.host.AddAddr("eth0", lab.PairA6))
		},
		"address": func(t *testing.T, r *rig) {
			check(t, r.host.DelAddr("eth0", lab.PairA4))
			check(t, r.host.DelAddr("eth0", lab.PairA6))
			check(t, r.host.AddAddr("eth0", lab.PairA4))
			check(t, r.host.AddAddr("eth0", lab.PairA6))
		},
		"device made anew": func(t *testing.T, r *rig) {
			check(t, r.host.Delete("eth0"))
			check(t, lab.Pair(r.host, r.peer))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.set.period = time.Hour
			check(t, r.reset(route4, route6))
			r.run()
			for range 2 {
				upset(t, r)
				r.soon(r.bothStand)
			}
		})
	}
}

// What is not told is found by looking.
func TestRoutesAreLookedFor(t *testing.T) {
	r := newRig(t, nil)
	r.set.period = 50 * time.Millisecond
	check(t, r.reset(route4, route6))
	for _, g := range groups {
		check(t, unix.SetsockoptInt(r.set.watcher.socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, int(g)))
	}
	r.run()
	check(t, r.host.DelRoute(subnet4, "eth0", neighbour4))
	r.soon(r.bothStand)
}

// More changes than the kernel keeps are no end of watching.
func TestMoreChangesThanAreKept(t *testing.T) {
	r := newRig(t, nil)
	r.set.period = time.Hour
	check(t, r.reset(route4, route6))
	check(t, r.set.watcher.socket.SetReceiveBufferSize(1, false))
	check(t, r.host.DelRoute(subnet4, "eth0", neighbour4))
	for i := range 200 {
		dst := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i), 0}), 24)
		check(t, r.host.AddRoute(dst, "eth0", neighbour4))
	}
	r.run()
	r.soon(r.bothStand)
	check(t, r.host.DelRoute(subnet6, "eth0", neighbour6))
	r.soon(r.bothStand)
}

// Whoever fights over a route is answered, and told of.
func TestFight(t *testing.T) {
	r := newRig(t, nil)
	r.set.period, r.set.pace = time.Hour, time.Millisecond
	check(t, r.reset(route4))
	r.run()
	for range 20 {
		check(t, r.host.DelRoute(subnet4, "eth0", neighbour4))
		r.soon(func() error { return r.stands(route4) })
	}
	r.soon(func() error {
		if n := r.logs.FilterMessageSnippet("put back").Len(); n != 20 {
			return fmt.Errorf("the log tells %d times that the route was put back, want 20", n)
		}
		return nil
	})
}

func TestElsewhere(t *testing.T) {
	told := make(chan struct{}, 1000)
	r := newRig(t, func() { told <- struct{}{} })
	r.set.period, r.set.pace = time.Hour, time.Millisecond
	check(t, r.reset(route4))
	r.run()
	<-told // at first
	next := func(what string) {
		t.Helper()
		select {
		case <-told:
		case <-time.After(soon):
			t.Fatalf("nobody was told of %s", what)
		}
	}
	site := netip.MustParsePrefix("198.51.100.0/24")
	check(t, r.host.AddRoute(site, "eth0", neighbour4))
	next("a route")
	check(t, r.host.DelRoute(site, "eth0", neighbour4))
	next("a route that is gone")
	check(t, r.host.AddAddr("lo", netip.MustParsePrefix("192.0.2.1/32")))
	next("an address")
}

func TestWhatConcernsTheSet(t *testing.T) {
	r := newRig(t, nil)
	check(t, r.reset(route4))
	d, err := r.host.Device("eth0")
	check(t, err)
	for _, c := range []struct {
		routeChange
		set, elsewhere bool
	}{
		{routeChange{dst: subnet4, via: neighbour4, index: d.Index}, false, false}, // its own
		{routeChange{dst: subnet4, via: other4, index: d.Index}, true, false},
		{routeChange{dst: subnet4, via: neighbour4}, true, false}, // several gateways
		{routeChange{dst: subnet4, via: neighbour4, index: d.Index, gone: true}, true, false},
		{routeChange{dst: netip.MustParsePrefix("172.7.23.0/24"), via: other4}, false, false},
		{routeChange{dst: netip.MustParsePrefix("172.7.0.0/16"), via: other4}, true, true},
		{routeChange{dst: netip.MustParsePrefix("0.0.0.0/0")}, true, true},
	} {
		set, elsewhere := r.set.concerns(change{routes: []routeChange{c.routeChange}})
		if set != c.set || elsewhere != c.elsewhere {
			t.Errorf("%+v: %t, %t", c, set, elsewhere)
		}
	}
	if fmt.Sprint(route4) != "172.7.22.0/24 via 10.211.55.12 dev eth0" {
		t.Errorf("%v", route4)
	}
}
