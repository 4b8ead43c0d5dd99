// Package hostroutes keeps routes in the kernel's main table against others
// who take them away or put their own in their place.
package hostroutes

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Route leads the packets to a prefix to a gateway.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr // of the same family; the zero Addr if Dst is on the wire itself
	Device  string     // by name, as one that is made anew has another index
	Onlink  bool       // Gateway is behind Device, whatever the addresses there say
}

// String writes the route as `ip route` does.
func (r Route) String() string {
	s := r.Dst.String()
	if r.Gateway.IsValid() {
		s += " via " + r.Gateway.String()
	}
	s += " dev " + r.Device
	if r.Onlink {
		s += " onlink"
	}
	return s
}

// metric is what the kernel takes where none is given: none over IPv4,
// IP6_RT_PRIO_USER over IPv6.
func metric(dst netip.Prefix) int {
	if dst.Addr().Is6() {
		return 1024
	}
	return 0
}

// request is what the kernel is asked for. The protocol is boot, as of flannel
// and of `ip route`: that is the one which `ip route` does not print.
func (r Route) request(index int) *netlink.Route {
	req := &netlink.Route{
		Dst:       ipNet(r.Dst),
		LinkIndex: index,
		Table:     unix.RT_TABLE_MAIN,
		Type:      unix.RTN_UNICAST,
		Protocol:  unix.RTPROT_BOOT,
	}
	if r.Gateway.IsValid() {
		req.Gw = r.Gateway.AsSlice()
	} else if r.Dst.Addr().Is4() {
		req.Scope = netlink.SCOPE_LINK
	}
	if r.Onlink {
		req.Flags = unix.RTNH_F_ONLINK
	}
	return req
}

// is reports whether what stands in the kernel does what r says. What else
// somebody gave it, a source address or an MTU, is theirs to choose.
func (r Route) is(have *netlink.Route, index int) bool {
	return plain(have) && have.Priority == metric(r.Dst) && have.LinkIndex == index &&
		addr(have.Gw) == r.Gateway && (have.Flags&unix.RTNH_F_ONLINK != 0) == r.Onlink
}

// plain reports whether a route leads all packets to one place.
func plain(have *netlink.Route) bool {
	return have.Type == unix.RTN_UNICAST && have.Tos == 0 && len(have.MultiPath) == 0 && have.Via == nil && have.Encap == nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefix returns the zero Prefix for what is no IP route.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	bits, size := n.Mask.Size()
	a := addr(n.IP)
	if size != a.BitLen() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, bits)
}

// addr undoes the 16 bytes that package net keeps an IPv4 address in.
func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// route is how a plain route of the kernel would be asked for.
func (d *devices) route(have *netlink.Route) Route {
	return Route{
		Dst: prefix(have.Dst), Gateway: addr(have.Gw), Device: d.name(have.LinkIndex), Onlink: have.Flags&unix.RTNH_F_ONLINK != 0,
	}
}

// describe writes a route of the kernel for a message.
func (d *devices) describe(have *netlink.Route) string {
	if have.Type != unix.RTN_UNICAST || len(have.MultiPath) > 0 {
		return have.String()
	}
	r := d.route(have)
	if have.Priority != metric(r.Dst) {
		return fmt.Sprintf("%v metric %d", r, have.Priority)
	}
	return r.String()
}
