package vxlan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/backend/entries"
	"github.com/weftnet/weft/internal/flannel/dump"
	"github.com/weftnet/weft/routetable"
)

// program makes the tables as the peers want them. Until the peers are known
// nothing is: what a former process left serves on.
//
// What leads to a peer comes before the route by which packets get there, and
// goes after it. A peer with a new MAC is in the FDB under both until the
// neighbour has the new one.
func (o *overlay) program(ctx context.Context) error {
	if !o.filled {
		return nil
	}
	if o.unread {
		for name := range o.peers {
			o.undecided[name] = struct{}{}
		}
		if err := o.look(ctx); err != nil {
			return fmt.Errorf("device %s: %w", o.name, err)
		}
		o.unread = false
	}
	undecided := o.decide()
	d, index := o.datapath, o.index
	var failures []entries.Failure
	failures = append(failures, o.fdb.Set(d.batch(), func(part []fdbEntry) map[routetable.MAC]error {
		return d.replace(ctx, index, part)
	})...)
	failures = append(failures, o.neighbours.Set(unlimited, func(part []neighbour) map[netip.Addr]error {
		return eachOf(ctx, part, o.setNeighbour)
	})...)
	failures = append(failures, o.routes.Set(unlimited, func(part []route) map[netip.Prefix]error {
		return eachOf(ctx, part, o.setRoute)
	})...)
	failures = append(failures, o.routes.Delete(unlimited, func(part []route) map[netip.Prefix]error {
		return eachOf(ctx, part, o.deleteRoute)
	})...)
	failures = append(failures, o.neighbours.Delete(unlimited, func(part []neighbour) map[netip.Addr]error {
		return eachOf(ctx, part, o.deleteNeighbour)
	})...)
	failures = append(failures, o.fdb.Delete(d.batch(), func(part []fdbEntry) map[routetable.MAC]error {
		return d.remove(ctx, index, part)
	})...)
	o.settle()
	return errors.Join(undecided, entries.Join(failures))
}

const unlimited = 1 << 30

type (
	neighbour = entries.Entry[netip.Addr, routetable.MAC]
	route     = entries.Entry[netip.Prefix, way]
)

func (o *overlay) settle() {
	o.fdb.Settle()
	o.neighbours.Settle()
	o.routes.Settle()
}

// look reads what is there.
func (o *overlay) look(ctx context.Context) error {
	fdb, err := o.datapath.entries(ctx, o.index)
	if err != nil {
		return err
	}
	neighbours, err := o.lookAtNeighbours()
	if err != nil {
		return err
	}
	routes, err := o.lookAtRoutes()
	if err != nil {
		return err
	}
	o.fdb.Found(fdb)
	o.neighbours.Found(neighbours)
	o.routes.Found(routes)
	return nil
}

func (o *overlay) lookAtNeighbours() (map[netip.Addr]routetable.MAC, error) {
	all, err := dump.Consistent(func() ([]netlink.Neigh, error) {
		return netlink.NeighListExecute(netlink.Ndmsg{Family: uint8(o.number), Index: uint32(o.index), State: netlink.NUD_PERMANENT})
	})
	if err != nil {
		return nil, fmt.Errorf("read the neighbours: %w", err)
	}
	found := map[netip.Addr]routetable.MAC{}
	for i := range all {
		addr, ok := netip.AddrFromSlice(all[i].IP)
		if ok && len(all[i].HardwareAddr) == 6 {
			found[addr.Unmap()] = routetable.MAC(all[i].HardwareAddr)
		}
	}
	return found, nil
}

// lookAtRoutes finds the routes that are like those to peers: what a person
// added looks otherwise, and stays.
func (o *overlay) lookAtRoutes() (map[netip.Prefix]way, error) {
	all, err := dump.Consistent(func() ([]netlink.Route, error) {
		filter := &netlink.Route{LinkIndex: o.index, Table: unix.RT_TABLE_MAIN, Protocol: unix.RTPROT_BOOT}
		return netlink.RouteListFiltered(o.number, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return nil, fmt.Errorf("read the routes: %w", err)
	}
	found, err := o.lookAtDirect()
	for i := range all {
		r := &all[i]
		via, ok := netip.AddrFromSlice(r.Gw)
		if !ok || r.Dst == nil || r.Priority != o.metric {
			continue
		}
		if p := device.Prefix(r.Dst); p.Addr() == via.Unmap() {
			found[p] = way{via: p.Addr()}
		}
	}
	return found, err
}

// eachOf has each entry changed by a request of its own, over one socket.
func eachOf[K comparable, V any](ctx context.Context, part []entries.Entry[K, V], change func(*netlink.Handle, entries.Entry[K, V]) error) map[K]error {
	failed := map[K]error{}
	if len(part) == 0 {
		return failed
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err == nil {
		defer h.Close()
	}
	for _, e := range part {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			failed[e.Key] = err
		} else if err := change(h, e); err != nil {
			failed[e.Key] = err
		}
	}
	return failed
}

func (o *overlay) setNeighbour(h *netlink.Handle, e neighbour) error {
	err := h.NeighSet(&netlink.Neigh{
		LinkIndex: o.index, Family: o.number, State: netlink.NUD_PERMANENT, Type: unix.RTN_UNICAST,
		IP: e.Key.AsSlice(), HardwareAddr: net.HardwareAddr(e.Value[:]),
	})
	if errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("neighbour %v: %w: the neighbour table is full, raise net.%s.neigh.default.gc_thresh3", e.Key, err, o.sysctl)
	}
	if err != nil {
		return fmt.Errorf("neighbour %v lladdr %v dev %s: %w", e.Key, e.Value, o.name, err)
	}
	return nil
}

func (o *overlay) deleteNeighbour(h *netlink.Handle, e neighbour) error {
	err := unlessGone(h.NeighDel(&netlink.Neigh{LinkIndex: o.index, Family: o.number, IP: e.Key.AsSlice()}))
	if err != nil {
		return fmt.Errorf("delete neighbour %v dev %s: %w", e.Key, o.name, err)
	}
	return nil
}

func (o *overlay) setRoute(h *netlink.Handle, e route) error {
	err := h.RouteReplace(o.netlinkRoute(e))
	if errors.Is(err, unix.EINVAL) && e.Key.Addr().Is6() && e.Value.Index == 0 {
		err = o.setRouteAnyway(h, e)
	}
	if err != nil {
		return fmt.Errorf("route %v %s: %w", e.Key, o.describe(e.Value), err)
	}
	return nil
}

// setRouteAnyway puts a route by way of a base that is presently reached through
// another device, by the route whose place it takes: over IPv6 the kernel then
// refuses it (ip6_route_check_nh_onlink), until there is a narrower one.
func (o *overlay) setRouteAnyway(h *netlink.Handle, e route) error {
	narrow := &netlink.Route{LinkIndex: o.index, Dst: device.IPNet(netip.PrefixFrom(e.Value.via, e.Value.via.BitLen()))}
	if err := h.RouteReplace(narrow); err != nil {
		return err
	}
	err := h.RouteReplace(o.netlinkRoute(e))
	return errors.Join(err, unlessGone(h.RouteDel(narrow)))
}

func (o *overlay) deleteRoute(h *netlink.Handle, e route) error {
	if err := unlessGone(h.RouteDel(o.netlinkRoute(e))); err != nil {
		return fmt.Errorf("delete route %v %s: %w", e.Key, o.describe(e.Value), err)
	}
	return nil
}

func (o *overlay) netlinkRoute(e route) *netlink.Route {
	r := &netlink.Route{LinkIndex: e.Value.Index, Dst: device.IPNet(e.Key), Gw: e.Value.via.AsSlice(), Scope: netlink.SCOPE_UNIVERSE}
	if e.Value.Index == 0 {
		r.LinkIndex, r.Flags = o.index, int(netlink.FLAG_ONLINK)
	}
	return r
}

// unlessGone takes what is not there for deleted.
func unlessGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}
