package conformance

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// lan is hosts on one switch, each with a link of VNI 6 to the same group.
type lan struct {
	underlay lanUnderlay
	sw       *lab.Switch
	hosts    []*lab.Host
	links    []*link
}

// lanUnderlay says which addresses the hosts and the group have.
type lanUnderlay struct {
	name  string
	hosts netip.Prefix // host 0 has this one, the others the next
	group netip.Addr
}

var lanUnderlays = []lanUnderlay{
	{"IPv4", netip.MustParsePrefix("10.211.55.11/24"), netip.MustParseAddr("239.1.1.1")},
	{"IPv6", netip.MustParsePrefix("fd00:211:55::11/64"), netip.MustParseAddr("ff05::6")},
}

// address is host i's.
func (u *lanUnderlay) address(i int) netip.Prefix {
	addr := u.hosts.Addr()
	for range i {
		addr = addr.Next()
	}
	return netip.PrefixFrom(addr, u.hosts.Bits())
}

// innerAddress is that of host i's link.
func innerAddress(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 1, byte(1 + i)}), 24)
}

// newLAN plugs n hosts into a switch; links are added to them. They have no
// IPv6 inside, so that nothing moves by itself.
func newLAN(t *testing.T, u lanUnderlay, n int) *lan {
	t.Helper()
	l := &lan{underlay: u, sw: newSwitch(t)}
	for i := range n {
		h := lab.TestHost(t, fmt.Sprintf("host%d", i))
		check(t, l.sw.Plug(lab.Port{Host: h, Addrs: []netip.Prefix{u.address(i)}}))
		check(t, h.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
		l.hosts = append(l.hosts, h)
	}
	return l
}

// spec is what a member's link is made of.
func (l *lan) spec(i int) spec {
	v := lab.VXLAN{Name: "vxlan1", ID: 6, Port: 4789, Remote: l.underlay.group, Dev: "eth0"}
	return spec{VXLAN: v, Addrs: []netip.Prefix{innerAddress(i)}}
}

// addMember gives host i its link and waits until that has joined the group.
func (l *lan) addMember(t *testing.T, i int, k kind, adjust func(*spec)) *link {
	t.Helper()
	s := l.spec(i)
	if adjust != nil {
		adjust(&s)
	}
	made := newLink(t, l.hosts[i], k, s)
	if s.Remote.IsMulticast() {
		awaitMembers(t, l.hosts[i], s.Remote, true)
	}
	l.links = append(l.links, made)
	return made
}

// eachOnLAN runs one body for each kind and underlay, all in parallel.
func eachOnLAN(t *testing.T, body func(t *testing.T, k kind, u lanUnderlay)) {
	t.Helper()
	t.Parallel()
	for _, u := range lanUnderlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, k kind) { body(t, k, u) })
		})
	}
}
