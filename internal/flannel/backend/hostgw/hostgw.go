// Package hostgw is flannel's backend host-gw: the nodes are on one wire, and
// each routes to the subnets of the others, packets going as they are.
package hostgw

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/hostroutes"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
)

type hostgw struct {
	node   backend.Node
	cfg    *netconf.Config
	log    *zap.Logger
	own    lease.Subnet
	routes *hostroutes.Set
}

// New returns the backend of a node.
func New(node backend.Node, cfg *netconf.Config, log *zap.Logger) backend.Backend {
	return &hostgw{
		node: node, cfg: cfg, log: log,
		routes: hostroutes.New(hostroutes.Options{Ranges: []netconf.Range{cfg.IPv4, cfg.IPv6}, Log: log}),
	}
}

// Prepare refuses an address that is not the interface's: to the peers it is
// the gateway, which they find by ARP.
func (h *hostgw) Prepare(context.Context) (lease.Record, error) {
	rec := lease.Record{PublicIP: h.node.Public, BackendType: netconf.TypeHostGW}
	if err := h.reachable("--public-ip", h.node.Public, h.node.Addr); err != nil {
		return lease.Record{}, err
	}
	if h.cfg.IPv6.Enabled() {
		rec.PublicIPv6 = h.node.Public6
		if err := h.reachable("--public-ipv6", h.node.Public6, h.node.Addr6); err != nil {
			return lease.Record{}, err
		}
	}
	return rec, nil
}

func (h *hostgw) reachable(flag string, public, own netip.Addr) error {
	switch {
	case !own.IsValid():
		return fmt.Errorf("host-gw: %s has no address that %s could be: give it one, or choose another interface with --iface", h.node.Interface, flag)
	case public != own:
		return fmt.Errorf("host-gw: the public address is %v, that of %s is %v, so this node is probably behind a NAT, where its peers cannot "+
			"send packets to it as they are: leave %s out, or take the vxlan or udp backend", public, h.node.Interface, own, flag)
	}
	return nil
}

// Start returns the MTU of the interface.
func (h *hostgw) Start(_ context.Context, own lease.Lease) (int, error) {
	h.own = own.Subnet
	return h.node.MTU, nil
}

// Run keeps the routes until ctx ends, whose error it returns.
func (h *hostgw) Run(ctx context.Context) error { return h.routes.Run(ctx) }

// Reset routes to peers, and to nobody else.
func (h *hostgw) Reset(_ context.Context, peers []lease.Lease) error {
	var routes []hostroutes.Route
	var errs []error
	for _, l := range peers {
		more, err := h.to(l)
		errs = append(errs, err)
		routes = append(routes, more...)
	}
	return skipped(append(errs, h.routes.Reset(routes))...)
}

// Apply follows the peers.
func (h *hostgw) Apply(_ context.Context, events []registry.Event) error {
	last := map[netip.Prefix]*hostroutes.Route{} // nil to take one away
	var errs []error
	for _, e := range events {
		for _, l := range []lease.Lease{e.Old, e.Lease} {
			for _, dst := range subnets(l) {
				last[dst] = nil
			}
		}
		if e.Kind == registry.Removed {
			continue
		}
		routes, err := h.to(e.Lease)
		errs = append(errs, err)
		for _, r := range routes {
			last[r.Dst] = &r
		}
	}
	var put []hostroutes.Route
	var gone []netip.Prefix
	for dst, r := range last {
		if r == nil {
			gone = append(gone, dst)
		} else {
			put = append(put, *r)
		}
	}
	return skipped(append(errs, h.routes.Change(put, gone))...)
}

// Cleanup takes all routes away.
func (h *hostgw) Cleanup(context.Context) error {
	defer h.routes.Close()
	return h.routes.Reset(nil)
}

func skipped(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("host-gw: nodes are skipped until they are on one wire with this one: %w", err)
	}
	return nil
}

// to returns the routes to a node. One of another backend has none here.
func (h *hostgw) to(l lease.Lease) (routes []hostroutes.Route, err error) {
	switch {
	case l.BackendType != netconf.TypeHostGW:
		h.log.Warn("node is of another backend and ignored", zap.Stringer("subnet", l.Subnet), zap.Stringer("node", l.PublicIP),
			zap.String("backend", l.BackendType))
		return nil, nil
	case l.PublicIP == h.node.Public:
		h.log.Info("lease is an old one of this node and ignored", zap.Stringer("subnet", l.Subnet))
		return nil, nil
	}
	routes, err = h.family(nil, l.IPv4, h.own.IPv4, l.PublicIP)
	if h.cfg.IPv6.Enabled() {
		var err6 error
		routes, err6 = h.family(routes, l.IPv6, h.own.IPv6, l.PublicIPv6)
		err = errors.Join(err, err6)
	}
	if err != nil {
		err = fmt.Errorf("node %v: %w", l.PublicIP, err)
	}
	return routes, err
}

// family appends the route to a subnet of a node, if there is one.
func (h *hostgw) family(routes []hostroutes.Route, dst, own netip.Prefix, gateway netip.Addr) ([]hostroutes.Route, error) {
	switch {
	case !dst.IsValid():
		return routes, nil
	case !gateway.IsValid():
		return routes, fmt.Errorf("it has leased %v and does not tell its address of that family", dst)
	}
	if err := backend.Apart(own, dst); err != nil {
		return routes, err
	}
	return append(routes, hostroutes.Route{Dst: dst, Gateway: gateway, Device: h.node.Interface}), nil
}

// subnets are the prefixes of a lease, if it is one.
func subnets(l lease.Lease) (dsts []netip.Prefix) {
	for _, dst := range []netip.Prefix{l.IPv4, l.IPv6} {
		if dst.IsValid() {
			dsts = append(dsts, dst)
		}
	}
	return dsts
}
