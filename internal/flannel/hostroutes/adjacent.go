package hostroutes

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is one of the caller's network namespace.
type Device struct {
	Name  string
	Index int
}

// Adjacent returns the devices on whose wires addresses are, as of now: those
// to which the kernel would send without a gateway. An address that is behind
// one, or of this host, or cannot be reached at all, is not in the map.
func Adjacent(addrs ...netip.Addr) (map[netip.Addr]Device, error) {
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	defer k.close()
	devices, near := k.devices(), map[netip.Addr]Device{}
	var errs []error
	for _, a := range addrs {
		routes, err := k.handle.RouteGet(a.AsSlice())
		switch {
		case err == nil && direct(routes):
			index := routes[0].LinkIndex
			near[a] = Device{devices.name(index), index}
		case err != nil && !noWay(err):
			errs = append(errs, fmt.Errorf("look for the way to %v: %w", a, err))
		}
	}
	return near, errors.Join(errs...)
}

// direct is flannel's test, but for this host's own addresses.
func direct(routes []netlink.Route) bool {
	if len(routes) != 1 {
		return false
	}
	r := &routes[0]
	return r.Type == unix.RTN_UNICAST && r.Gw == nil && r.Via == nil && len(r.MultiPath) == 0
}

// noWay reports whether an error says that packets cannot be sent: no route, or
// one of the types unreachable, blackhole and prohibit.
func noWay(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EINVAL, unix.EACCES, unix.EPERM, unix.ENETDOWN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
