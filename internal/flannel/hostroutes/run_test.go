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
			r := newRig(t)
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
	r := newRig(t)
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
	r := newRig(t)
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
	r := newRig(t)
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

func TestWhatConcernsTheSet(t *testing.T) {
	r := newRig(t)
	check(t, r.reset(route4))
	d, err := r.host.Device("eth0")
	check(t, err)
	far := Route{Dst: netip.MustParsePrefix("172.7.1.0/24"), Gateway: netip.MustParseAddr("192.0.2.1"), Device: "eth0"}
	route := func(c RouteChange) Change { return Change{Routes: []RouteChange{c}} }
	cases := []struct {
		Change
		concerns, waiting bool // once all is as it should be, and while something could not be had
	}{
		{route(RouteChange{Dst: subnet4, Via: neighbour4, Index: d.Index}), false, false}, // its own
		{route(RouteChange{Dst: subnet4, Via: other4, Index: d.Index}), true, true},
		{route(RouteChange{Dst: subnet4, Via: neighbour4}), true, true}, // several gateways
		{route(RouteChange{Dst: subnet4, Via: neighbour4, Index: d.Index, Gone: true}), true, true},
		{route(RouteChange{Dst: netip.MustParsePrefix("192.0.2.0/24"), Index: d.Index}), false, true},
		{route(RouteChange{Dst: netip.MustParsePrefix("0.0.0.0/0")}), false, true},
		{route(RouteChange{Dst: netip.MustParsePrefix("fe80::/64"), Index: 77}), false, false}, // every device's
		{Change{Devices: []int{d.Index}}, true, true},
		{Change{Devices: []int{d.Index + 1}}, false, true}, // a container's
		{Change{All: true}, true, true},
		{Change{}, false, false},
	}
	for _, c := range cases {
		if got := r.set.concerns(c.Change); got != c.concerns {
			t.Errorf("%+v: %t", c.Change, got)
		}
	}
	if err := r.set.Change([]Route{far}, nil); err == nil {
		t.Fatal("there is no way to the gateway, and no error")
	}
	for _, c := range cases {
		if got := r.set.concerns(c.Change); got != c.waiting {
			t.Errorf("%+v, while a route could not be had: %t", c.Change, got)
		}
	}
}
