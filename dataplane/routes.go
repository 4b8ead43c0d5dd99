package dataplane

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"

	"github.com/weftnet/weft/routetable"
)

// Routes tells the link's routes, IPv4 before IPv6, by prefix. It may take its
// time: forwarding is not held up.
func (l *Link) Routes() (iter.Seq[RouteEntry], error) {
	if err := l.hasRoutes(); err != nil {
		return nil, err
	}
	return func(yield func(RouteEntry) bool) {
		for p, r := range l.routed.routes.All() {
			if !yield(routeEntry(p, r)) {
				return
			}
		}
	}, nil
}

// Route tells the route that packets to an address take.
func (l *Link) Route(to netip.Addr) (RouteEntry, error) {
	if err := l.hasRoutes(); err != nil {
		return RouteEntry{}, err
	}
	p, r := l.routed.routes.Find(to)
	if r == nil {
		return RouteEntry{}, fmt.Errorf("Network is unreachable: no route of %s is for %s: `weft route show` lists them", l.Name(), to) //nolint:staticcheck // begins as the kernel's message does, which people search for
	}
	return routeEntry(p, r), nil
}

func routeEntry(p netip.Prefix, r *routetable.Route) RouteEntry {
	return RouteEntry{Prefix: p, Via: r.Addr, MAC: r.MAC, VNI: r.VNI, Port: r.Port}
}

func (l *Link) hasRoutes() error {
	if l.routed == nil {
		return fmt.Errorf("%s has no routes: it is a link of type vxlan without l3, and carries frames: use `weft fdb`, or `ip route`", l.Name())
	}
	return nil
}

// hasFDB is the opposite.
func (l *Link) hasFDB() error {
	if l.fdb == nil {
		cfg := l.Config()
		return fmt.Errorf("%s has no FDB: it is a link %s, and carries IP packets: use `weft route`", l.Name(), cfg.kind())
	}
	return nil
}

// ChangeRoute carries out one change, with the outcome that `ip route` has.
func (l *Link) ChangeRoute(c *RouteChange) error {
	if err := l.changeRoute(c); err != nil {
		return fmt.Errorf("route %s %s dev %s: %w", c.Op, c.Prefix, l.Name(), err)
	}
	return nil
}

func (l *Link) changeRoute(c *RouteChange) error {
	if err := l.hasRoutes(); err != nil {
		return err
	}
	if err := l.checkRouteWords(c); err != nil {
		return err
	}
	routes := l.routed.routes
	if c.Op == RouteDelete {
		return explainRoute(routes.Delete(c.Prefix, c.matches))
	}
	route, err := l.routeOf(c)
	if err != nil {
		return err
	}
	switch c.Op {
	case RouteAdd:
		err = routes.Add(c.Prefix, route)
	case RouteReplace:
		err = routes.Replace(c.Prefix, route)
	default:
		return fmt.Errorf("unknown change: allowed are %s, %s, %s", RouteAdd, RouteReplace, RouteDelete)
	}
	return explainRoute(err)
}

// matches reports whether a route is the one that is to be deleted: it has all
// that is said of it.
func (c *RouteChange) matches(r *routetable.Route) bool {
	return (!c.Via.IsValid() || c.Via == r.Addr) &&
		(c.MAC == routetable.MAC{} || c.MAC == r.MAC) &&
		(c.VNI == nil || *c.VNI == r.VNI) &&
		(c.Port == 0 || c.Port == r.Port)
}

// checkRouteWords refuses what a route of the link cannot have.
func (l *Link) checkRouteWords(c *RouteChange) error {
	cfg := l.Config()
	switch {
	case cfg.Bare() && c.MAC != routetable.MAC{}:
		return fmt.Errorf("lladdr %s: datagrams of a link of type udp have no Ethernet header: leave it out", c.MAC)
	case cfg.Bare() && c.VNI != nil:
		return fmt.Errorf("vni %d: datagrams of a link of type udp have no VXLAN header: leave it out", *c.VNI)
	case c.VNI != nil && *c.VNI > MaxVNI:
		return fmt.Errorf("vni %d: 0 to %d are allowed", *c.VNI, MaxVNI)
	case c.MAC[0]&1 != 0:
		return fmt.Errorf("lladdr %s: the unicast address of the peer's device is wanted", c.MAC)
	}
	return nil
}

// routeOf completes what a change says by the link's own.
func (l *Link) routeOf(c *RouteChange) (r routetable.Route, err error) {
	cfg := l.Config()
	r = routetable.Route{Remote: routetable.Remote{Addr: c.Via, Port: c.Port, VNI: l.vni}, MAC: c.MAC}
	if !r.Addr.IsValid() {
		r.Addr = cfg.Remote
	}
	if r.Port == 0 {
		r.Port = l.port.number
	}
	if c.VNI != nil {
		r.VNI = *c.VNI
	}
	switch {
	case !r.Addr.IsValid() || r.Addr.IsUnspecified():
		return r, errors.New("Invalid argument: `via VTEP` is missing, the host that the prefix is behind") //nolint:staticcheck // begins as the kernel's message does, which people search for
	case r.Addr.Is4() == l.ipv6:
		return r, fmt.Errorf("Address family not supported by protocol: via %s is not of the link's underlay, which is %s", r.Addr, familyName(l.ipv6)) //nolint:staticcheck // likewise
	case r.Addr.IsMulticast():
		return r, fmt.Errorf("Invalid argument: via %s: the address of one host is wanted", r.Addr) //nolint:staticcheck // likewise
	case cfg.L3 && r.MAC == routetable.MAC{}:
		return r, errors.New("Invalid argument: `lladdr MAC` is missing, the address of the peer's device, to which its frames have to go") //nolint:staticcheck // likewise
	}
	if r.Addr.IsLinkLocalUnicast() {
		r.IfIndex = l.set.Load().devIndex
	}
	return r, nil
}

// explainRoute says in the kernel's words what is wrong, and what to do.
func explainRoute(err error) error {
	for _, known := range []struct {
		is   error
		text string
	}{
		{routetable.ErrRouteExists, "File exists: the prefix has a route already: use `replace` to change it"},
		{routetable.ErrRouteNotFound, "No such process: there is no such route: `weft route show` lists what there is"},
		{routetable.ErrPrefix, "Invalid argument: bits are set behind the length of the prefix: leave them 0, or give the length that is meant"},
	} {
		if errors.Is(err, known.is) {
			return errors.New(known.text)
		}
	}
	return err
}
