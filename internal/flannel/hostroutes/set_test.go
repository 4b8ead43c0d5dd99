package hostroutes

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

func TestResetPutsRoutes(t *testing.T) {
	r := newRig(t)
	onWire := Route{Dst: netip.MustParsePrefix("172.7.23.0/24"), Device: "eth0"}
	onlink := Route{Dst: netip.MustParsePrefix("172.7.24.0/24"), Gateway: netip.MustParseAddr("172.7.24.0"), Device: "eth0", Onlink: true}
	onlink6 := Route{Dst: netip.MustParsePrefix("fd00:7:0:24::/64"), Gateway: netip.MustParseAddr("fd00:7:0:24::"), Device: "eth0", Onlink: true}
	all := []Route{route4, route6, onWire, onlink, onlink6}
	check(t, r.reset(all...))
	for _, want := range all {
		if err := r.stands(want); err != nil {
			t.Error(err)
		}
	}
	check(t, r.reset(route4))
	check(t, r.stands(route4))
	for _, gone := range all[1:] {
		if have := r.to(gone.Dst); len(have) > 0 {
			t.Errorf("%v left the set and is still there: %v", gone, have)
		}
	}
}

// A route that does what it should is not touched, whatever else somebody gave
// it.
func TestSameRouteStays(t *testing.T) {
	r := newRig(t)
	r.add(subnet4, func(n *netlink.Route) { n.Gw, n.MTU, n.Protocol = neighbour4.AsSlice(), 1300, unix.RTPROT_STATIC })
	r.add(subnet6, func(n *netlink.Route) { n.Gw, n.MTU = neighbour6.AsSlice(), 1300 })
	check(t, r.reset(route4, route6))
	for _, dst := range []netip.Prefix{subnet4, subnet6} {
		if have := r.to(dst); len(have) != 1 || have[0].MTU != 1300 {
			t.Errorf("the route to %v became %v", dst, have)
		}
	}
	if n := r.logs.Len(); n > 0 {
		t.Errorf("the log tells of %v", r.logs.All()[0].Entry)
	}
}

func TestOtherRouteIsReplaced(t *testing.T) {
	for name, foreign := range map[string]struct {
		v4, v6 []func(*netlink.Route)
	}{
		"gateway": {
			[]func(*netlink.Route){via(other4)}, []func(*netlink.Route){via(other6)},
		},
		"on the wire": {
			[]func(*netlink.Route){func(n *netlink.Route) { n.Scope = netlink.SCOPE_LINK }}, []func(*netlink.Route){func(*netlink.Route) {}},
		},
		"device": {
			[]func(*netlink.Route){func(n *netlink.Route) { n.LinkIndex, n.Scope = 1, netlink.SCOPE_LINK }},
			[]func(*netlink.Route){func(n *netlink.Route) { n.LinkIndex = 1 }},
		},
		"blackhole": {
			[]func(*netlink.Route){func(n *netlink.Route) { n.LinkIndex, n.Type = 0, unix.RTN_BLACKHOLE }},
			[]func(*netlink.Route){func(n *netlink.Route) { n.LinkIndex, n.Type = 0, unix.RTN_BLACKHOLE }},
		},
		"metric that counts more": {
			nil, []func(*netlink.Route){func(n *netlink.Route) { n.Gw, n.Priority = other6.AsSlice(), 256 }},
		},
		"several gateways, ours among them": {
			[]func(*netlink.Route){via(other4), via(neighbour4)}, []func(*netlink.Route){via(other6), via(neighbour6)},
		},
		"all of it": {
			[]func(*netlink.Route){via(other4), func(n *netlink.Route) { n.LinkIndex, n.Scope = 1, netlink.SCOPE_LINK }},
			[]func(*netlink.Route){via(other6), func(n *netlink.Route) { n.LinkIndex, n.Priority = 1, 100 }, func(*netlink.Route) {}},
		},
		"onlink": {
			[]func(*netlink.Route){func(n *netlink.Route) { n.Gw, n.Flags = neighbour4.AsSlice(), unix.RTNH_F_ONLINK }},
			[]func(*netlink.Route){func(n *netlink.Route) { n.Gw, n.Flags = neighbour6.AsSlice(), unix.RTNH_F_ONLINK }},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for _, change := range foreign.v4 {
				r.add(subnet4, change)
			}
			for _, change := range foreign.v6 {
				r.add(subnet6, change)
			}
			check(t, r.reset(route4, route6))
			for _, want := range []Route{route4, route6} {
				if err := r.stands(want); err != nil {
					t.Error(err)
				}
			}
			if r.logs.FilterMessageSnippet("another route").Len() == 0 {
				t.Error("the log does not tell that somebody's route was taken away")
			}
		})
	}
}

// One that counts less does no harm, and is a person's to keep.
func TestLesserRouteStays(t *testing.T) {
	r := newRig(t)
	r.add(subnet4, func(n *netlink.Route) { n.Gw, n.Priority = other4.AsSlice(), 100 })
	r.add(subnet6, func(n *netlink.Route) { n.Gw, n.Priority = other6.AsSlice(), 2000 })
	check(t, r.reset(route4, route6))
	for _, dst := range []netip.Prefix{subnet4, subnet6} {
		if have := r.to(dst); len(have) != 2 {
			t.Errorf("routes to %v: %v, want both", dst, have)
		}
	}
	check(t, r.reset())
	for _, dst := range []netip.Prefix{subnet4, subnet6} {
		if have := r.to(dst); len(have) != 1 || have[0].Priority < 100 {
			t.Errorf("routes to %v: %v, want the one of somebody else", dst, have)
		}
	}
}

func TestLeftRoutesArePurged(t *testing.T) {
	r := newRig(t)
	router4, router6 := netip.MustParseAddr("10.211.55.1"), netip.MustParseAddr("fd00:211:55::1")
	r.add(netip.MustParsePrefix("0.0.0.0/0"), via(router4))
	r.add(netip.MustParsePrefix("2001:db8::/32"), via(router6))
	for dst, change := range map[string]func(*netlink.Route){
		"172.7.91.0/24": via(other4), "fd00:7:0:91::/64": via(other6),
		"172.7.92.0/24": func(n *netlink.Route) {
			n.Gw, n.Flags = netip.MustParseAddr("172.7.92.0").AsSlice(), unix.RTNH_F_ONLINK
		},
	} {
		r.add(netip.MustParsePrefix(dst), change)
	}
	others := map[string]func(*netlink.Route){
		"172.7.93.0/24":    via(router4), // a site's own, though somebody may be leased it
		"fd00:7:0:93::/64": via(router6),
		"172.7.94.0/25":    via(router4),                                            // no node's subnet
		"172.8.95.0/24":    via(router4),                                            // not of the network
		"172.7.96.0/24":    func(n *netlink.Route) { n.Scope = netlink.SCOPE_LINK }, // a bridge's
		"172.7.97.0/24":    func(n *netlink.Route) { n.Gw, n.Protocol = other4.AsSlice(), unix.RTPROT_STATIC },
		"172.7.98.0/24":    func(n *netlink.Route) { n.Gw, n.Priority = other4.AsSlice(), 50 },
		"172.7.99.0/24":    func(n *netlink.Route) { n.LinkIndex, n.Type = 0, unix.RTN_BLACKHOLE },
	}
	for dst, change := range others {
		r.add(netip.MustParsePrefix(dst), change)
	}
	check(t, r.reset(route4))
	check(t, r.stands(route4))
	for _, dst := range []string{"172.7.91.0/24", "fd00:7:0:91::/64", "172.7.92.0/24"} {
		if have := r.to(netip.MustParsePrefix(dst)); len(have) > 0 {
			t.Errorf("what was left to %s stays: %v", dst, have)
		}
	}
	for dst := range others {
		if len(r.to(netip.MustParsePrefix(dst))) != 1 {
			t.Errorf("the route to %s, which is somebody else's, is gone", dst)
		}
	}
}

func TestChange(t *testing.T) {
	r := newRig(t)
	check(t, r.reset(route4, route6))
	moved := Route{Dst: subnet4, Gateway: other4, Device: "eth0"}
	check(t, r.host.Do(func() error { return r.set.Change([]Route{moved}, []netip.Prefix{subnet6}) }))
	check(t, r.stands(moved))
	check(t, r.set.Change([]Route{moved}, nil)) // once more is no harm
	check(t, r.stands(moved))
	taken := Route{Dst: netip.MustParsePrefix("172.7.30.0/24"), Gateway: neighbour4, Device: "eth0"}
	taken6 := Route{Dst: netip.MustParsePrefix("fd00:7:0:30::/64"), Gateway: neighbour6, Device: "eth0"}
	r.add(taken.Dst, via(other4))
	r.add(taken6.Dst, via(other6))
	check(t, r.set.Change([]Route{taken, taken6}, nil))
	check(t, r.stands(taken))
	check(t, r.stands(taken6))
	if have := r.to(subnet6); len(have) > 0 {
		t.Errorf("%v stays", have)
	}
	// Somebody else's, which was put where the set's was, is not the set's to
	// take away.
	r.add(subnet6, via(other6))
	check(t, r.set.Change(nil, []netip.Prefix{subnet6, subnet4}))
	if len(r.to(subnet6)) != 1 || len(r.to(subnet4)) != 0 {
		t.Errorf("routes: %v and %v, want those of somebody else", r.to(subnet6), r.to(subnet4))
	}
}

// A gateway that cannot be reached is named, and the others are served.
func TestUnreachableGateway(t *testing.T) {
	r := newRig(t)
	far4 := Route{Dst: netip.MustParsePrefix("172.7.1.0/24"), Gateway: netip.MustParseAddr("192.0.2.1"), Device: "eth0"}
	far6 := Route{Dst: netip.MustParsePrefix("fd00:7:0:1::/64"), Gateway: netip.MustParseAddr("2001:db8::1"), Device: "eth0"}
	err := r.reset(far4, far6, route4, route6)
	if err == nil {
		t.Fatal("there is no way to the gateways, and no error")
	}
	for _, want := range []string{
		"route 172.7.1.0/24 via 192.0.2.1 dev eth0: 192.0.2.1 is not directly reachable through eth0",
		"route fd00:7:0:1::/64 via 2001:db8::1 dev eth0: 2001:db8::1 is not directly reachable through eth0",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error %q does not say %q", err, want)
		}
	}
	check(t, r.stands(route4))
	check(t, r.stands(route6))
	r.run()
	check(t, r.host.AddAddr("eth0", netip.MustParsePrefix("192.0.2.9/24")))
	check(t, r.host.AddAddr("eth0", netip.MustParsePrefix("2001:db8::9/64")))
	r.soon(func() error { return r.stands(far4) })
	r.soon(func() error { return r.stands(far6) })
}

func TestMissingDevice(t *testing.T) {
	r := newRig(t)
	err := r.reset(route4, Route{Dst: netip.MustParsePrefix("172.7.9.0/24"), Gateway: neighbour4, Device: "flannel.1"})
	if err == nil || !strings.Contains(err.Error(), "route 172.7.9.0/24 via 10.211.55.12 dev flannel.1: device flannel.1: ") {
		t.Errorf("error %v", err)
	}
	check(t, r.stands(route4))
}

// A lease that claims the wire itself would otherwise take the host off it.
func TestRouteOverItsOwnGateway(t *testing.T) {
	r := newRig(t)
	wire4, wire6 := lab.PairA4.Masked(), lab.PairA6.Masked()
	var claims []Route
	for _, dst := range []netip.Prefix{wire4, netip.MustParsePrefix("0.0.0.0/0")} {
		claims = append(claims, Route{Dst: dst, Gateway: neighbour4, Device: "eth0"})
	}
	for _, dst := range []netip.Prefix{wire6, netip.MustParsePrefix("::/0")} {
		claims = append(claims, Route{Dst: dst, Gateway: neighbour6, Device: "eth0"})
	}
	err := r.reset(append(claims, route4, route6)...)
	for _, c := range claims {
		if err == nil || !strings.Contains(err.Error(), "route "+c.String()+": the gateway is itself in "+c.Dst.String()) {
			t.Errorf("error %v of %v", err, c)
		}
	}
	for _, wire := range []netip.Prefix{wire4, wire6} {
		if have := r.to(wire); len(have) != 1 || have[0].Gw != nil {
			t.Errorf("the wire's route is now %v", have)
		}
	}
	check(t, r.bothStand())
}
