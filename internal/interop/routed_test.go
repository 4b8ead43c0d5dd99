package interop

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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

// fixedMACs are the addresses of the nodes' links, as flannel's leases tell
// them.
var macOfA, macOfB = net.HardwareAddr{2, 9, 0, 0, 0, 1}, net.HardwareAddr{2, 9, 0, 0, 0, 2}

// addL3Link makes a link of type vxlan with l3 and a node's addresses.
func addL3Link(t *testing.T, h *lab.Host, mac net.HardwareAddr, local netip.Addr, subnets []netip.Prefix, words ...string) *vtep {
	t.Helper()
	lab.NeedTUN(t)
	v := &vtep{Host: h, kind: user, weft: newWeft(t, h), link: "flannel.1"}
	v.weft.must(append([]string{"link", "add", v.link, "address", mac.String(), "type", "vxlan", "id", "1", "dstport", "8472",
		"local", local.String(), "dev", "eth0", "nolearning", "l3"}, words...)...)
	v.addressNode(t, subnets)
	return v
}

// addFlannelDevice makes the kernel's device as flannel makes it, and programs
// it for one other node: permanent neighbours, an entry in the FDB, routes by
// way of the first address of the node's subnet, which is on no link.
func addFlannelDevice(t *testing.T, h *lab.Host, mac net.HardwareAddr, local netip.Addr, subnets, others []netip.Prefix, theirMAC net.HardwareAddr, remote netip.Addr) *vtep {
	t.Helper()
	lab.NeedKernelVXLAN(t)
	v := &vtep{Host: h, kind: kernel, link: "flannel.1", addr: subnets[0].Addr()}
	check(t, h.AddKernelVXLAN(lab.VXLAN{Name: v.link, ID: 1, Port: 8472, Local: local, Dev: "eth0", Address: mac, NoLearning: true}))
	for _, p := range subnets {
		check(t, v.AddAddr(v.link, netip.PrefixFrom(p.Addr(), p.Addr().BitLen())))
	}
	check(t, v.SetUp(v.link))
	check(t, v.ChangeFDB(lab.FDBReplace, lab.FDBEntry{MAC: theirMAC, Dev: v.link, Dst: remote, State: lab.FDBPermanent, Flags: unix.NTF_SELF}))
	d, err := v.Device(v.link)
	check(t, err)
	for _, p := range others {
		check(t, v.AddNeighbour(v.link, p.Addr(), theirMAC))
		check(t, v.Netlink().RouteReplace(&netlink.Route{
			LinkIndex: d.Index, Gw: p.Addr().AsSlice(), Flags: int(netlink.FLAG_ONLINK),
			Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		}))
	}
	return v
}

// connectL3 joins two fresh hosts by links with l3, at one end the kernel's
// device instead if that is wanted.
func connectL3(t *testing.T, u underlay, far kind, words ...string) (a, b *vtep) {
	t.Helper()
	ha, hb := lab.TestPair(t)
	a = addL3Link(t, ha, macOfA, u.a, nodesA, words...)
	a.routeTo(nodesB, u.b, "lladdr", macOfB.String())
	if far == kernel {
		return a, addFlannelDevice(t, hb, macOfB, u.b, nodesB, nodesA, macOfA, u.a)
	}
	b = addL3Link(t, hb, macOfB, u.b, nodesB, words...)
	b.routeTo(nodesA, u.a, "lladdr", macOfA.String())
	return a, b
}

type prefix = netip.Prefix

// prefixPair is what a node's bridge and a container behind it have.
type prefixPair struct{ gateway, pod prefix }

// podAddrs are the second and third address of each of a node's subnets.
func podAddrs(subnets []netip.Prefix) (pairs []prefixPair) {
	for _, p := range subnets {
		first := p.Addr().Next()
		pairs = append(pairs, prefixPair{netip.PrefixFrom(first, p.Bits()), netip.PrefixFrom(first.Next(), p.Bits())})
	}
	return pairs
}
