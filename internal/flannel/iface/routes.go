package iface

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/dump"
)

// ofDefaultRoute wants both families' default routes on one interface.
func (h *host) ofDefaultRoute() (backend.Node, error) {
	four, err := h.defaultLink(netlink.FAMILY_V4, "IPv4")
	if err == nil && h.v6 {
		var six *link
		if six, err = h.defaultLink(netlink.FAMILY_V6, "IPv6"); err == nil && six != four {
			err = fmt.Errorf("the default route of IPv4 is on %s and that of IPv6 on %s", four.Name, six.Name)
		}
	}
	var n backend.Node
	if err == nil {
		n, err = h.node(four, netip.Addr{})
	}
	if err != nil {
		return n, fmt.Errorf("%w; name the interface with --iface (this host has %s)", err, h)
	}
	return n, nil
}

func (h *host) defaultLink(family int, name string) (*link, error) {
	routes, err := dump.Consistent(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	routes = slices.DeleteFunc(routes, func(r netlink.Route) bool { return !isDefault(r) })
	if len(routes) == 0 {
		return nil, fmt.Errorf("there is no default route of %s, whose interface is taken unless another is named", name)
	}
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
	if len(routes[0].MultiPath) > 0 {
		return nil, fmt.Errorf("the default route of %s has several next hops", name)
	}
	return h.byIndex(routes[0].LinkIndex)
}

func isDefault(r netlink.Route) bool {
	if r.Type != unix.RTN_UNICAST {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

// reaching takes the interface and the source address that the kernel would
// send to an address with.
func (h *host) reaching(to netip.Addr) (backend.Node, error) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil {
		return backend.Node{}, fmt.Errorf("ask for the route: %w", err)
	}
	if len(routes) == 0 {
		return backend.Node{}, errors.New("there is no route")
	}
	l, err := h.byIndex(routes[0].LinkIndex)
	if err != nil {
		return backend.Node{}, err
	}
	src, _ := netip.AddrFromSlice(routes[0].Src)
	return h.node(l, src.Unmap())
}

func (h *host) byIndex(index int) (*link, error) {
	for _, l := range h.links {
		if l.Index == index {
			return l, nil
		}
	}
	return nil, errors.New("the route is of an interface that came a moment ago")
}
