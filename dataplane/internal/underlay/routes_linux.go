//go:build !portable

package underlay

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Routes asks the kernel how remotes are reached. It belongs to one goroutine.
type Routes struct {
	netlink *netlink.Handle
	v6      *PathMTU // nil where there is no IPv6
	devices *devices
	vias    cache[route, Via]
	spoilt  Via // the last answer that a device spoilt
}

// route is what a Via is looked up by.
type route struct {
	path
	local netip.Addr
}

// OpenRoutes opens the sockets to ask by, in the network namespace of the
// calling thread.
func OpenRoutes() (r *Routes, err error) {
	r = &Routes{}
	r.vias = newCache(r.ask)
	if r.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err == nil {
		r.devices, err = openDevices()
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("ask for routes: %w", err)
	}
	r.v6, _ = OpenPathMTU(true, netip.Addr{})
	return r, nil
}

// Close closes the sockets.
func (r *Routes) Close() {
	if r.netlink != nil {
		r.netlink.Close()
	}
	if r.devices != nil {
		r.devices.close()
	}
	if r.v6 != nil {
		_ = r.v6.Close()
	}
}

// Of returns how to send from local, or from the address that the route says,
// to remote, by the device with index ifIndex or that of the route if that is
// 0. It is valid until the next call, and up to a second old by now, which is
// the time on any clock that does not go backwards.
func (r *Routes) Of(remote, local netip.Addr, ifIndex int, now time.Duration) *Via {
	via := r.vias.of(route{path{remote, ifIndex}, local}, now)
	if via.Refused != "" {
		return via
	}
	device := r.devices.of(via.IfIndex, now)
	if device.refused == "" && device.uncut == "" {
		return via
	}
	r.spoilt = *via
	r.spoilt.Refused, r.spoilt.Uncut = device.refused, device.uncut
	return &r.spoilt
}

func (r *Routes) ask(to route) Via {
	options := &netlink.RouteGetOptions{OifIndex: to.ifIndex}
	if to.local.IsValid() {
		options.SrcAddr = net.IP(to.local.AsSlice())
	}
	found, err := r.netlink.RouteGetWithOptions(net.IP(to.remote.AsSlice()), options)
	if err != nil || len(found) == 0 {
		return Via{Refused: fmt.Sprintf("there is no route to %v", to.remote)}
	}
	via := Via{IfIndex: found[0].LinkIndex, HopLimit: uint8(found[0].Hoplimit)}
	via.Source, _ = netip.AddrFromSlice(found[0].Src)
	if to.remote.Is4() {
		via.Source = via.Source.Unmap()
	}
	if via.HopLimit == 0 {
		via.HopLimit = r.hopLimit(to.path)
	}
	via.NextHop = nextHop(to.remote, &found[0])
	switch {
	case found[0].Type != unix.RTN_UNICAST:
		via.Refused = fmt.Sprintf("%v is not reached by a device of the underlay", to.remote)
	case via.HopLimit == 0 || !via.Source.IsValid() && !to.local.IsValid():
		via.Refused = fmt.Sprintf("the kernel does not say what it sends to %v with", to.remote)
	}
	return via
}

// nextHop is the gateway, or the remote itself.
func nextHop(remote netip.Addr, found *netlink.Route) netip.Addr {
	switch gateway, ok := netip.AddrFromSlice(found.Gw); {
	case found.Via != nil:
		return netip.Addr{}
	case !ok:
		return remote
	case remote.Is4():
		return gateway.Unmap()
	default:
		return gateway
	}
}

// hopLimit is what a socket uses by itself where the route says nothing. Over
// IPv6 that depends on the device, and a connected socket tells.
func (r *Routes) hopLimit(to path) uint8 {
	fd, level, option := r.devices.socket, unix.IPPROTO_IP, unix.IP_TTL
	if to.remote.Is6() {
		if r.v6 == nil || !r.v6.reach(to) {
			return 0
		}
		fd, level, option = r.v6.fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	hops, err := unix.GetsockoptInt(fd, level, option)
	if err != nil || hops > 255 {
		return 0
	}
	return uint8(hops)
}
