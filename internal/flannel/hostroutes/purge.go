package hostroutes

import (
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// purge takes away what was left of nodes that are gone.
//
// A mark of our own, a protocol number say, would show in `ip route`, where a
// route is to look as flannel's does, and would not be on those that flannel
// left. So what is left is told by what it is: a route as this package and
// flannel put them, to a whole subnet that a node of the network could hold.
// Every such subnet belongs to a node or to nobody. What leads there by way of
// a router that also leads elsewhere is no node's, and stays: a network such as
// 10.0.0.0/8 may well have a site's own routes in it.
func (s *Set) purge(t *table) error {
	var errs []error
	for _, l := range t.like(s.subnet) {
		if s.wanted[l.Dst] == nil && !l.Router {
			s.o.Log.Info("a route that was left is taken away", zap.Stringer("route", l.Route))
			errs = append(errs, s.kernel.del(l.raw))
		}
	}
	return errors.Join(errs...)
}

// Found is a route of the kernel that is like those to nodes.
type Found struct {
	Route
	Index  int  // of its device
	Router bool // its gateway also leads to what is no node's subnet

	raw *netlink.Route
}

// Like returns the routes that are such as this package and flannel put them,
// of those to the prefixes that are a node's subnet.
func Like(subnet func(netip.Prefix) bool) ([]Found, error) {
	k, err := openKernel()
	if err != nil {
		return nil, err
	}
	defer k.close()
	t, err := k.read()
	if err != nil {
		return nil, err
	}
	return t.like(subnet), nil
}

func (t *table) like(subnet func(netip.Prefix) bool) (found []Found) {
	routers := t.routers(subnet)
	for dst, routes := range t.to {
		if !subnet(dst) {
			continue
		}
		for i := range routes {
			if r := &routes[i]; left(r, dst) {
				found = append(found, Found{t.route(r), r.LinkIndex, routers[addr(r.Gw)], r})
			}
		}
	}
	return found
}

// left reports whether a route is such as this package and flannel put them.
func left(r *netlink.Route, dst netip.Prefix) bool {
	return plain(r) && r.Gw != nil && r.Protocol == unix.RTPROT_BOOT && r.Priority == metric(dst)
}

func (s *Set) subnet(dst netip.Prefix) bool {
	for _, r := range s.o.Ranges {
		if r.Enabled() && r.Allows(dst) {
			return true
		}
	}
	return false
}

// routers are the gateways by which something else than a node's subnet is
// reached.
func (t *table) routers(subnet func(netip.Prefix) bool) map[netip.Addr]bool {
	routers := map[netip.Addr]bool{}
	for dst, routes := range t.to {
		if subnet(dst) {
			continue
		}
		for _, r := range routes {
			routers[addr(r.Gw)] = true
			for _, hop := range r.MultiPath {
				routers[addr(hop.Gw)] = true
			}
		}
	}
	return routers
}
