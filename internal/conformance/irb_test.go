package conformance

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// fabric is what vxlan_asymmetric.sh, vxlan_symmetric.sh and their likes for
// IPv6 are played on: two switches that bridge two segments and route between
// them, with the same gateway in both (integrated routing and bridging, RFC
// 9135), joined by a spine. The first has the links under test.
//
//	h10 ─ br10 ─ vx10 ─┐                      ┌─ vx10 ─ br10 ─ h10
//	       │ routing   ├ leaf0 ─ spine ─ leaf1 ┤  routing │
//	h20 ─ br20 ─ vx20 ─┘                      └─ vx20 ─ br20 ─ h20
//
// A VLAN of the scripts is a bridge here, and its interface the bridge itself.
// Their VRF, which keeps the routes of the overlay from those of the underlay,
// is the leaf: the two do not meet.
type fabric struct {
	v6     bool
	spine  *lab.Host
	leaves [2]*leaf
	wire   *lab.Capture // the spine's, towards leaf0
	pings  int
}

// leaf is one of the switches.
type leaf struct {
	*lab.Host
	vtep  netip.Addr // on its loopback
	hosts map[int]*lab.Host
	links map[int]*link
}

// segmentVNIs are the VNIs by segment; the last one is of packets that are
// routed on both sides, in the symmetric model.
var segmentVNIs = map[int]uint32{10: 1000, 20: 2000, 4001: 104001}

// gatewayMAC is of the gateway, on both leaves.
var gatewayMAC = mac("00:00:5e:00:01:01")

// address is one of a segment: 1 the gateway, 11 and 12 the leaves, 101 and
// 102 the hosts.
func (f *fabric) address(segment, n int) netip.Prefix {
	if f.v6 {
		return netip.MustParsePrefix(fmt.Sprintf("fd01:%d::%d/64", segment, n))
	}
	return netip.MustParsePrefix(fmt.Sprintf("10.1.%d.%d/24", segment, n))
}

// underlayNet is the address of an end of the wire between a leaf and the
// spine, or of a leaf's loopback.
func (f *fabric) underlayNet(leaf int, spine bool) netip.Prefix {
	n := 1
	if spine {
		n = 2
	}
	if f.v6 {
		return netip.MustParsePrefix(fmt.Sprintf("fd00:0:%d::%d/64", 2+leaf, n))
	}
	return netip.MustParsePrefix(fmt.Sprintf("192.0.%d.%d/24", 2+leaf, n))
}

func (f *fabric) loopback(leaf int) netip.Prefix {
	if f.v6 {
		return netip.MustParsePrefix(fmt.Sprintf("fd00:10::%d/128", 1+leaf))
	}
	return netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/32", 1+leaf))
}

func newFabric(t *testing.T, k kind, v6 bool, segments ...int) *fabric {
	t.Helper()
	lab.NeedBridge(t)
	f := &fabric{v6: v6, spine: lab.TestHost(t, "spine")}
	route(t, f.spine)
	for i, kind := range []kind{k, kernel} {
		f.leaves[i] = f.addLeaf(t, i)
		for _, s := range segments {
			f.addSegment(t, kind, i, s)
		}
	}
	for i := range f.leaves {
		f.tellMACs(t, i)
	}
	f.wire = lab.TestCapture(t, f.spine, "leaf0")
	return f
}

// route makes a router of a host.
func route(t *testing.T, h *lab.Host) {
	t.Helper()
	check(t, h.Sysctl("net.ipv4.ip_forward", "1"))
	check(t, h.Sysctl("net.ipv6.conf.all.forwarding", "1"))
}

// addLeaf wires a switch to the spine, and gives each the routes to the other.
func (f *fabric) addLeaf(t *testing.T, i int) *leaf {
	t.Helper()
	l := &leaf{Host: lab.TestHost(t, fmt.Sprintf("leaf%d", i)), hosts: map[int]*lab.Host{}, links: map[int]*link{}}
	l.vtep = f.loopback(i).Addr()
	route(t, l.Host)
	near, far := f.underlayNet(i, false), f.underlayNet(i, true)
	check(t, lab.Connect(
		lab.Port{Host: l.Host, Addrs: []netip.Prefix{near}},
		lab.Port{Host: f.spine, Dev: l.Name, Addrs: []netip.Prefix{far}},
	))
	check(t, l.AddAddr("lo", f.loopback(i)))
	check(t, l.AddRoute(f.loopback(1-i), "eth0", far.Addr()))
	check(t, f.spine.AddRoute(f.loopback(i), l.Name, near.Addr()))
	return l
}

// addSegment gives a leaf the bridge, link and host of a segment. That of
// routed packets has neither host nor address.
func (f *fabric) addSegment(t *testing.T, k kind, i, segment int) {
	t.Helper()
	l := f.leaves[i]
	br, vx := fmt.Sprintf("br%d", segment), fmt.Sprintf("vx%d", segment)
	check(t, l.AddBridge(br))
	check(t, l.Netlink().LinkSetHardwareAddr(must(l.Netlink().LinkByName(br))(t), leafMAC(i, segment)))
	s := spec{VXLAN: lab.VXLAN{Name: vx, ID: segmentVNIs[segment], Port: 4789, Local: l.vtep}}
	bridgeWords(&s)
	if segment != routed {
		s.Remote = f.loopback(1 - i).Addr()
	}
	if len(l.links) == 0 {
		l.links[segment] = newLink(t, l.Host, k, s)
	} else {
		for _, first := range l.links {
			l.links[segment] = first.sibling(t, s)
			break
		}
	}
	check(t, l.SetMaster(br, vx))
	if segment != routed {
		f.addGateway(t, i, segment)
		f.addHost(t, i, segment)
	}
}

// routed is the segment between the routers of the symmetric model.
const routed = 4001

// leafMAC is the address of a leaf's own interface in a segment.
func leafMAC(i, segment int) net.HardwareAddr {
	return net.HardwareAddr{2, 0, 0, byte(1 + i), byte(segment >> 8), byte(segment)}
}

// addGateway gives the bridge its own address, and the one that both leaves
// have, by a macvlan device.
func (f *fabric) addGateway(t *testing.T, i, segment int) {
	t.Helper()
	l, br := f.leaves[i], fmt.Sprintf("br%d", segment)
	check(t, l.AddAddr(br, f.address(segment, 11+i)))
	bridge := must(l.Netlink().LinkByName(br))(t)
	gateway := &netlink.Macvlan{
		LinkAttrs: netlink.LinkAttrs{Name: br + "-v", ParentIndex: bridge.Attrs().Index, HardwareAddr: gatewayMAC, TxQLen: -1},
		Mode:      netlink.MACVLAN_MODE_PRIVATE,
	}
	check(t, l.Netlink().LinkAdd(gateway))
	check(t, l.SetUp(br+"-v"))
	check(t, l.AddAddr(br+"-v", f.address(segment, 1)))
	check(t, l.ChangeFDB(lab.FDBReplace, lab.FDBEntry{Dev: br, MAC: gatewayMAC, State: lab.FDBPermanent, Flags: unix.NTF_SELF}))
}

// addHost gives a segment its host, which sends all else to the gateway.
func (f *fabric) addHost(t *testing.T, i, segment int) {
	t.Helper()
	h := lab.TestHost(t, fmt.Sprintf("h%d.%d", segment, i))
	port := fmt.Sprintf("h%d", segment)
	check(t, lab.Connect(lab.Port{Host: f.leaves[i].Host, Dev: port}, lab.Port{Host: h, Addrs: []netip.Prefix{f.address(segment, 101+i)}}))
	check(t, f.leaves[i].SetMaster(fmt.Sprintf("br%d", segment), port))
	gateway := f.address(segment, 1).Addr()
	check(t, h.AddNeighbour("eth0", gateway, gatewayMAC))
	everywhere := netip.MustParsePrefix("0.0.0.0/0")
	if f.v6 {
		everywhere = netip.MustParsePrefix("::/0")
	}
	check(t, h.AddRoute(everywhere, "eth0", gateway))
	f.leaves[i].hosts[segment] = h
}

// tellMACs tells a leaf where the other's hosts are, as a controller does.
func (f *fabric) tellMACs(t *testing.T, i int) {
	t.Helper()
	other := f.leaves[1-i]
	for segment, h := range other.hosts {
		m := macOf(t, h, "eth0")
		f.tellMAC(t, i, segment, m)
		check(t, f.leaves[i].AddNeighbour(fmt.Sprintf("br%d", segment), f.address(segment, 101+1-i).Addr(), m))
	}
	if f.leaves[i].links[routed] != nil {
		f.tellRoutes(t, i)
	}
}

// tellMAC makes the entries of link and bridge for an address.
func (f *fabric) tellMAC(t *testing.T, i, segment int, m net.HardwareAddr) {
	t.Helper()
	l := f.leaves[i]
	l.links[segment].fdb(t, "add", m.String(), "dst", f.leaves[1-i].vtep.String(), "self", "extern_learn", "static")
	check(t, l.ChangeFDB(lab.FDBAdd, lab.FDBEntry{
		Dev: l.links[segment].dev, MAC: m, State: lab.FDBStatic, Flags: unix.NTF_MASTER | unix.NTF_EXT_LEARNED,
	}))
}

// tellRoutes gives a leaf the routes to the other's hosts through the segment
// that routed packets take.
func (f *fabric) tellRoutes(t *testing.T, i int) {
	t.Helper()
	l, other := f.leaves[i], f.leaves[1-i]
	br := must(l.Netlink().LinkByName(fmt.Sprintf("br%d", routed)))(t)
	f.tellMAC(t, i, routed, leafMAC(1-i, routed))
	gateway := other.vtep
	if f.v6 {
		// In the VRF of the script it is the other's VTEP too. Without one,
		// Linux refuses a gateway that the underlay has a route to.
		gateway = netip.MustParseAddr(fmt.Sprintf("fe80::%d", 2-i))
	}
	check(t, l.AddNeighbour(br.Attrs().Name, gateway, leafMAC(1-i, routed)))
	for segment := range other.hosts {
		dst := f.address(segment, 101+1-i).Addr()
		check(t, l.Netlink().RouteAdd(&netlink.Route{
			Dst: &net.IPNet{IP: dst.AsSlice(), Mask: net.CIDRMask(dst.BitLen(), dst.BitLen())},
			Gw:  gateway.AsSlice(), LinkIndex: br.Attrs().Index, Flags: int(netlink.FLAG_ONLINK),
		}))
	}
}
