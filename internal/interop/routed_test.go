package interop

import (
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// The overlay of links that carry IP packets: each end's device has the first
// address of its node's subnet, as flannel gives it, and everything else of the
// network lies behind the device.
var (
	overlay4, overlay6 = netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("fd09::/32")
	nodesA             = []netip.Prefix{netip.MustParsePrefix("10.9.1.0/24"), netip.MustParsePrefix("fd09:0:0:1::/64")}
	nodesB             = []netip.Prefix{netip.MustParsePrefix("10.9.2.0/24"), netip.MustParsePrefix("fd09:0:0:2::/64")}
)

// addressNode gives a node's device the addresses that flannel gives it, the
// first of each of its subnets, and the routes to the others.
func (v *vtep) addressNode(t *testing.T, subnets []netip.Prefix) {
	t.Helper()
	v.addr = subnets[0].Addr()
	for _, p := range subnets {
		check(t, v.AddAddr(v.link, netip.PrefixFrom(p.Addr(), p.Addr().BitLen())))
	}
	check(t, v.SetUp(v.link))
	for _, p := range []netip.Prefix{overlay4, overlay6} {
		check(t, v.AddRoute(p, v.link, netip.Addr{}))
	}
}

// addUDPLink makes a link of type udp with a node's addresses.
func addUDPLink(t *testing.T, h *lab.Host, local netip.Addr, subnets []netip.Prefix, words ...string) *vtep {
	t.Helper()
	lab.NeedTUN(t)
	v := &vtep{Host: h, kind: user, weft: newWeft(t, h), link: "flannel0"}
	v.weft.must(append([]string{"link", "add", v.link, "type", "udp", "local", local.String(), "dev", "eth0"}, words...)...)
	v.addressNode(t, subnets)
	return v
}

// routeTo adds the link's routes to another node.
func (v *vtep) routeTo(subnets []netip.Prefix, via netip.Addr, words ...string) {
	for _, p := range subnets {
		v.weft.must(append([]string{"route", "add", p.String(), "via", via.String(), "dev", v.link}, words...)...)
	}
}

// connectUDP joins two fresh hosts by links of type udp.
func connectUDP(t *testing.T, u underlay, words ...string) (a, b *vtep) {
	t.Helper()
	ha, hb := lab.TestPair(t)
	a = addUDPLink(t, ha, u.a, nodesA, words...)
	b = addUDPLink(t, hb, u.b, nodesB, words...)
	a.routeTo(nodesB, u.b)
	b.routeTo(nodesA, u.a)
	return a, b
}
