package hostroutes

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestAdjacent(t *testing.T) {
	r := newRig(t)
	for dst, change := range map[string]func(*netlink.Route){
		"192.0.2.0/24":     via(neighbour4),
		"2001:db8::/32":    via(neighbour6),
		"198.51.100.0/24":  func(n *netlink.Route) { n.LinkIndex, n.Type = 0, unix.RTN_UNREACHABLE },
		"198.51.101.0/24":  func(n *netlink.Route) { n.LinkIndex, n.Type = 0, unix.RTN_BLACKHOLE },
		"198.51.102.0/24":  func(n *netlink.Route) { n.LinkIndex, n.Type = 0, unix.RTN_PROHIBIT },
		"2001:db9::/32":    func(n *netlink.Route) { n.LinkIndex, n.Type = 0, unix.RTN_UNREACHABLE },
		"203.0.113.0/24":   func(n *netlink.Route) { n.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: neighbour6.AsSlice()} },
		"203.0.114.0/24":   func(n *netlink.Route) { n.Scope = netlink.SCOPE_LINK },
		"10.211.55.200/32": via(neighbour4), // on the wire, but for this one
	} {
		r.add(netip.MustParsePrefix(dst), change)
	}
	var addrs []netip.Addr
	eth0, err := r.host.Device("eth0")
	check(t, err)
	want := map[netip.Addr]Device{}
	for s, device := range map[string]string{
		neighbour4.String(): "eth0", neighbour6.String(): "eth0", "203.0.114.1": "eth0",
		"192.0.2.1": "", "2001:db8::1": "", "198.51.100.1": "", "198.51.101.1": "", "198.51.102.1": "", "2001:db9::1": "",
		"203.0.113.1": "", "10.211.55.200": "", "10.211.55.11": "", "fd00:211:55::11": "", "127.0.0.1": "", "8.8.8.8": "", "2003::1": "",
	} {
		a := netip.MustParseAddr(s)
		addrs = append(addrs, a)
		if device != "" {
			want[a] = Device{device, eth0.Index}
		}
	}
	var got map[netip.Addr]Device
	check(t, r.host.Do(func() (err error) { got, err = Adjacent(addrs...); return err }))
	if !maps.Equal(got, want) {
		t.Errorf("adjacent are %v, want %v", got, want)
	}
}
