package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// groupUnderlay is an underlay in which a link floods by a group.
type groupUnderlay struct {
	name    string
	local   netip.Addr      // the link's, which is on no wire
	group   netip.Addr      //
	wires   [2]netip.Prefix // the switch's on each wire
	far     [2]netip.Prefix // the sites'
	inner   [3]netip.Prefix // h1's, the sites'
	vni     uint32
	foreign netip.Addr // nobody's inner address
}

var groupUnderlays = []groupUnderlay{
	{
		"IPv4", netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("233.252.0.1"),
		[2]netip.Prefix{netip.MustParsePrefix("192.0.2.33/28"), netip.MustParsePrefix("192.0.2.65/28")},
		[2]netip.Prefix{netip.MustParsePrefix("192.0.2.34/28"), netip.MustParsePrefix("192.0.2.66/28")},
		[3]netip.Prefix{netip.MustParsePrefix("192.0.2.1/28"), netip.MustParsePrefix("192.0.2.3/28"), netip.MustParsePrefix("192.0.2.4/28")},
		1000, netip.MustParseAddr("192.0.2.2"),
	},
	{
		"IPv6", netip.MustParseAddr("2001:db8:4::1"), netip.MustParseAddr("ff0e::1:2:3"),
		[2]netip.Prefix{netip.MustParsePrefix("2001:db8:2::1/64"), netip.MustParsePrefix("2001:db8:3::1/64")},
		[2]netip.Prefix{netip.MustParsePrefix("2001:db8:2::2/64"), netip.MustParsePrefix("2001:db8:3::2/64")},
		[3]netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64"), netip.MustParsePrefix("2001:db8:1::3/64"), netip.MustParsePrefix("2001:db8:1::4/64")},
		2000, netip.MustParseAddr("2001:db8:1::2"),
	},
}

// TestVXLANGroup is ipv4_nomcroute, ipv6_nomcroute and both with _rx of
// vxlan_bridge_1q_mc_ul.sh: a link with a group sends to it by the group's
// device and by no other, and hears what comes to the group by that device.
// The script's misleading multicast route is left out.
func TestVXLANGroup(t *testing.T) {
	t.Parallel()
	for _, u := range groupUnderlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, k kind) { u.run(t, k) })
		})
	}
}

func (u *groupUnderlay) run(t *testing.T, k kind) {
	sw := lab.TestHost(t, "switch")
	check(t, sw.AddAddr("lo", netip.PrefixFrom(u.local, u.local.BitLen())))
	words := lab.VXLAN{Name: "vx0", ID: u.vni, Port: 4789, Remote: u.group, NoLearning: true, NoUDPCSum: true, TOS: 1, TTL: 16}
	var wires [2]*tally
	for i := range u.far {
		site := lab.TestHost(t, fmt.Sprintf("site%d", i+1))
		check(t, lab.Connect(
			lab.Port{Host: sw, Dev: fmt.Sprintf("eth%d", i), Addrs: u.wires[i : i+1]},
			lab.Port{Host: site, Addrs: u.far[i : i+1]},
		))
		// Otherwise ten datagrams may cross as one (UDP_SEGMENT).
		check(t, sw.SetOffloads(fmt.Sprintf("eth%d", i), lab.OffloadsOff()))
		v := words
		v.Local, v.Dev = u.far[i].Addr(), "eth0"
		newLink(t, site, kernel, spec{VXLAN: v, Addrs: u.inner[i+1 : i+2]})
		wires[i] = newTally(t, site, "eth0")
	}
	v := words
	v.Local, v.Dev = u.local, "eth0"
	l := newLink(t, sw, k, spec{VXLAN: v})
	check(t, sw.AddBridge("br0"))
	h1 := lab.TestHost(t, "h1")
	check(t, lab.Connect(lab.Port{Host: sw, Dev: "h1"}, lab.Port{Host: h1, Addrs: u.inner[:1]}))
	check(t, sw.SetMaster("br0", l.dev, "h1"))

	u.checkSent(t, h1, wires)
	check(t, h1.Ping(u.inner[1].Addr(), lab.PingOptions{Count: 3}).Lost())
	if r := h1.Ping(u.inner[2].Addr(), lab.PingOptions{}); r.Received > 0 {
		t.Error("the site on the other wire answered")
	}
}

// checkSent floods ten frames, and wants them on the group's wire alone, in
// the right envelopes.
func (u *groupUnderlay) checkSent(t *testing.T, h1 *lab.Host, wires [2]*tally) {
	t.Helper()
	e := echo{srcMAC: macOf(t, h1, "eth0"), dstMAC: unknownMAC, src: u.inner[0].Addr(), dst: u.foreign, id: 1}
	check(t, h1.SendFrame("eth0", slices.Repeat([][]byte{e.frame(t)}, 10)...))
	wires[0].await(t, 10, u.isSent(1))
	e.id = 2
	check(t, h1.SendFrame("eth0", e.frame(t)))
	wires[0].await(t, 1, u.isSent(2))
	wires[0].await(t, 10, u.isSent(1))
	wires[1].await(t, 0, func(f lab.Frame) bool { _, ok := dissect.DecodeVXLAN(f, 4789); return ok })
}

// isSent holds for datagrams to the group that have an echo request in them,
// the group's own MAC address, the link's source address and its TTL.
func (u *groupUnderlay) isSent(id uint16) func(lab.Frame) bool {
	return func(f lab.Frame) bool {
		e, ok := dissect.DecodeVXLAN(f, 4789)
		if !ok || !isEcho(id)(lab.Frame{Data: e.Inner.Data()}) || e.VXLAN.VNI != u.vni {
			return false
		}
		ends := e.Outer.NetworkLayer().NetworkFlow()
		return ends == gopacket.NewFlow(ends.EndpointType(), u.local.AsSlice(), u.group.AsSlice()) &&
			slices.Equal(f.Data[:6], groupMAC(u.group)) && hopsOf(e) == 16
	}
}

func hopsOf(e *dissect.Encapsulated) uint8 {
	if e.IPv6 != nil {
		return e.IPv6.HopLimit
	}
	return e.IPv4.TTL
}

// groupMAC is where frames to a group go (RFC 1112 §6.4, RFC 2464 §7).
func groupMAC(group netip.Addr) []byte {
	b := group.AsSlice()
	if group.Is6() {
		return append([]byte{0x33, 0x33}, b[12:]...)
	}
	return []byte{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
}

// TestVXLANGroupPerVNI is vxlan_vnifilter_datapath_mgroup and _mgroup_pervni
// of test_vxlan_vnifiltering.sh, with one link where the script has one VNI of
// a filter: several links on one port, of both families, share a group or have
// one each.
func TestVXLANGroupPerVNI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		groups [4]string
	}{
		{"one group", [4]string{"239.1.1.100", "239.1.1.100", "ff02::1234", "ff02::1234"}},
		{"a group each", [4]string{"239.1.1.100", "239.1.1.101", "ff02::1234", "ff02::1235"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, k kind) {
				ha, hb := lab.TestPair(t)
				a, b := groupLinks(t, ha, k, 11, c.groups), groupLinks(t, hb, kernel, 12, c.groups)
				for i := range a {
					check(t, a[i].Ping(vniAddr(i, 12).Addr(), lab.PingOptions{Count: 2}).Lost())
					check(t, b[i].Ping(vniAddr(i, 11).Addr(), lab.PingOptions{Count: 2}).Lost())
				}
			})
		})
	}
}

// vniAddr is the address of a host on a VNI's link.
func vniAddr(i int, host byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(10 * (i + 1)), host}), 24)
}

// groupLinks makes a link for each group: two over IPv4, two over IPv6.
func groupLinks(t *testing.T, h *lab.Host, k kind, host byte, groups [4]string) (links [4]*link) {
	t.Helper()
	for i, group := range groups {
		v := lab.VXLAN{Name: fmt.Sprintf("vx%d", i), ID: uint32(10 * (i + 1)), Port: 4789, Remote: netip.MustParseAddr(group), Dev: "eth0"}
		s := spec{VXLAN: v, Addrs: []netip.Prefix{vniAddr(i, host)}}
		if i == 0 {
			links[i] = newLink(t, h, k, s)
		} else {
			links[i] = links[0].sibling(t, s)
		}
	}
	return links
}
