package hostroutes

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// soon is what a test waits for at most.
const soon = 20 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a host on a wire with its neighbour, and a set that is kept on it.
type rig struct {
	*testing.T
	host, peer *lab.Host
	set        *Set
	logs       *observer.ObservedLogs
}

// network is that of the rigs.
const network = `{"Network":"172.7.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:7::/48","Backend":{"Type":"host-gw"}}`

func newRig(t *testing.T) *rig {
	t.Helper()
	cfg, err := netconf.Parse([]byte(network))
	check(t, err)
	r := &rig{T: t}
	r.host, r.peer = lab.TestPair(t)
	core, logs := observer.New(zapcore.DebugLevel)
	r.logs = logs
	r.set = New(Options{Ranges: []netconf.Range{cfg.IPv4, cfg.IPv6}, Log: zap.New(core)})
	t.Cleanup(r.set.Close)
	return r
}

func (r *rig) reset(routes ...Route) error {
	return r.host.Do(func() error { return r.set.Reset(routes) })
}

// run has the set kept until the end of the test.
func (r *rig) run() {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	check(r.T, r.host.Do(func() error { return r.set.open() }))
	go func() { ended <- r.set.Run(ctx) }()
	r.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			r.Errorf("Run ended with %v", err)
		}
	})
}

// Addresses of the wire and subnets of the network.
var (
	neighbour4, neighbour6 = lab.PairB4.Addr(), lab.PairB6.Addr()
	subnet4, subnet6       = netip.MustParsePrefix("172.7.22.0/24"), netip.MustParsePrefix("fd00:7:0:22::/64")
	other4, other6         = netip.MustParseAddr("10.211.55.99"), netip.MustParseAddr("fd00:211:55::99")

	route4 = Route{Dst: subnet4, Gateway: neighbour4, Device: "eth0"}
	route6 = Route{Dst: subnet6, Gateway: neighbour6, Device: "eth0"}
)

// to returns the kernel's routes to a prefix.
func (r *rig) to(dst netip.Prefix) []netlink.Route {
	r.Helper()
	family := netlink.FAMILY_V4
	if dst.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	all, err := r.host.Netlink().RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	check(r.T, err)
	return slices.DeleteFunc(all, func(have netlink.Route) bool { return prefix(have.Dst) != dst })
}

// stands returns an error unless a route is the only one to its prefix, as `ip
// route` would print it.
func (r *rig) stands(want Route) error {
	have := r.to(want.Dst)
	if len(have) != 1 {
		return fmt.Errorf("%d routes to %v, want one: %v", len(have), want.Dst, have)
	}
	d, err := r.host.Device(want.Device)
	if err != nil {
		return err
	}
	if !want.is(&have[0], d.Index) || have[0].Protocol != unix.RTPROT_BOOT {
		return fmt.Errorf("found the route %v, want %v", have[0], want)
	}
	return nil
}

func (r *rig) soon(cond func() error) {
	r.Helper()
	if err := lab.Eventually(soon, cond); err != nil {
		r.Fatal(err)
	}
}

// add puts a foreign route in.
func (r *rig) add(dst netip.Prefix, change func(*netlink.Route)) {
	r.Helper()
	d, err := r.host.Device("eth0")
	check(r.T, err)
	route := &netlink.Route{Dst: ipNet(dst), LinkIndex: d.Index}
	change(route)
	check(r.T, r.host.Netlink().RouteAppend(route))
}

// via leads a foreign route to a gateway.
func via(gateway netip.Addr) func(*netlink.Route) {
	return func(r *netlink.Route) { r.Gw = gateway.AsSlice() }
}
