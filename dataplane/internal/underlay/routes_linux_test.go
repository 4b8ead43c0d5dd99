//go:build !portable

package underlay

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// TestRoutes asks for the ways that super-frames go whole, and those that they
// do not.
func TestRoutes(t *testing.T) {
	needHosts(t)
	for name, c := range map[string]struct {
		edit   func(t *testing.T, h *lab.Host)
		remote netip.Addr
		local  netip.Addr
		want   string // Whole, or a part of it
	}{
		"IPv4":        {remote: lab.PairB4.Addr()},
		"IPv6":        {remote: lab.PairB6.Addr()},
		"own":         {remote: lab.PairA4.Addr(), want: "not reached by a device"},
		"no route":    {remote: netip.MustParseAddr("203.0.113.1"), want: "no route"},
		"no address":  {remote: lab.PairB4.Addr(), local: netip.MustParseAddr("203.0.113.9"), want: "no route"},
		"no offloads": {edit: switchOff("tx-udp_tnl-segmentation"), remote: lab.PairB4.Addr(), want: "eth0 has tx-udp_tnl-segmentation off"},
		"IPsec":       {edit: addPolicy, remote: lab.PairB4.Addr(), want: "IPsec"},
		"no checksum": {edit: switchOff("tx-udp_tnl-csum-segmentation"), remote: lab.PairB6.Addr(), want: "eth0 has tx-udp_tnl-csum-segmentation off"},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := lab.TestPair(t)
			if c.edit != nil {
				c.edit(t, a)
			}
			var routes *Routes
			check(t, a.Do(func() (err error) { routes, err = OpenRoutes(); return err }))
			t.Cleanup(routes.Close)
			via := routes.Of(c.remote, c.local, 0, 0)
			if c.want == "" && via.Whole() != "" || !strings.Contains(via.Whole(), c.want) {
				t.Errorf("%+v, want %q", via, c.want)
			}
		})
	}
}

// addPolicy has other hosts' traffic blocked by IPsec.
func addPolicy(t *testing.T, h *lab.Host) {
	_, net, err := net.ParseCIDR("203.0.113.0/24")
	check(t, err)
	policy := &netlink.XfrmPolicy{Src: net, Dst: net, Dir: netlink.XFRM_DIR_OUT, Action: netlink.XFRM_POLICY_BLOCK}
	check(t, h.Do(func() error { return netlink.XfrmPolicyAdd(policy) }))
}

func switchOff(feature string) func(t *testing.T, h *lab.Host) {
	return func(t *testing.T, h *lab.Host) { check(t, h.SetOffloads("eth0", lab.Offloads{feature: false})) }
}

// TestRouteHopLimit: the route's own, the device's or the namespace's default.
func TestRouteHopLimit(t *testing.T) {
	needHosts(t)
	a, _ := lab.TestPair(t)
	check(t, a.Sysctl("net.ipv4.ip_default_ttl", "33"))
	check(t, a.Sysctl("net.ipv6.conf.eth0.hop_limit", "44"))
	var routes *Routes
	check(t, a.Do(func() (err error) { routes, err = OpenRoutes(); return err }))
	t.Cleanup(routes.Close)
	for remote, want := range map[netip.Addr]uint8{lab.PairB4.Addr(): 33, lab.PairB6.Addr(): 44} {
		if via := routes.Of(remote, netip.Addr{}, 0, 0); via.HopLimit != want {
			t.Errorf("to %v: %+v, want %d", remote, via, want)
		}
	}
}
