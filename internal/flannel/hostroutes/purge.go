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
	routers := s.routers(t)
	var errs []error
	for dst, routes := range t.to {
		if s.wanted[dst] != nil || !s.subnet(dst) {
			continue
		}
		for _, r := range routes {
			if left(&r, dst) && !routers[addr(r.Gw)] {
				s.o.Log.Info("a route that was left is taken away", zap.String("route", describe(&r, t.name(r.LinkIndex))))
				errs = append(errs, s.kernel.del(&r))
			}
		}
	}
	return errors.Join(errs...)
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
func (s *Set) routers(t *table) map[netip.Addr]bool {
	routers := map[netip.Addr]bool{}
	for dst, routes := range t.to {
		if s.subnet(dst) {
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
