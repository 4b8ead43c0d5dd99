// Package vxlan is flannel's vxlan backend: a device flannel.<VNI>, and for
// each peer a neighbour, an entry in the device's FDB and a route, none of which
// is ever asked for on the wire. The device is the kernel's own, or a TAP of the
// daemon of the namespace where the kernel has none; peers see no difference.
//
// The device has the MAC that one of its name had before, whoever made it. A
// new one's is derived from what names the node in the network, its public
// address: so it stays the same over restarts of the agent, the daemon and the
// host, and nothing has to be kept in a file.
package vxlan

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
)

// Backend is a node of the vxlan backend.
type Backend struct {
	log  *zap.Logger
	node backend.Node

	mu       sync.Mutex
	overlays []*overlay // IPv4, and IPv6 in a network of both
	absent   []*overlay // of families that the network has not
	retry    chan struct{}
}

var _ backend.Backend = (*Backend)(nil)

// New returns the backend of a node. The config's backend has to be
// *netconf.VXLAN.
func New(node backend.Node, cfg *netconf.Config, o Options) *Backend {
	b := &Backend{log: o.Log, node: node, retry: make(chan struct{}, 1)}
	for _, f := range families {
		over := newOverlay(f, node, cfg, o)
		if f.network(cfg).Enabled() {
			b.overlays = append(b.overlays, over)
		} else {
			b.absent = append(b.absent, over)
		}
	}
	return b
}

// Prepare makes the devices, or takes over those that are there.
func (b *Backend) Prepare(ctx context.Context) (lease.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.absent {
		if err := o.clean(ctx); err != nil {
			return lease.Record{}, err
		}
	}
	rec := lease.Record{BackendType: netconf.TypeVXLAN}
	for _, o := range b.overlays {
		if err := o.prepare(ctx); err != nil {
			return lease.Record{}, fmt.Errorf("device %s: %w", o.name, err)
		}
		o.tell(&rec, o)
	}
	return rec, nil
}

// Start gives the devices their addresses. The MTU is that of IPv4's device,
// also in a network of both families, as flannel has it: the host tells
// senders of IPv6 packets of the 20 bytes that these have less.
func (b *Backend) Start(_ context.Context, own lease.Lease) (mtu int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log.Info("subnet of this node", zap.Stringer("subnet", own.Subnet))
	for _, o := range b.overlays {
		o.own = o.subnet(own.Subnet)
		if _, err := o.adjust(); err != nil {
			return 0, fmt.Errorf("device %s: %w", o.name, err)
		}
	}
	return b.overlays[0].mtu, nil
}

// Reset makes peers reachable, and nobody else.
func (b *Backend) Reset(ctx context.Context, peers []lease.Lease) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.overlays {
		o.filled, o.unread = true, true
	}
	return errors.Join(b.follow().Reset(peers, b.known), b.program(ctx))
}

// Apply follows the peers.
func (b *Backend) Apply(ctx context.Context, events []registry.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.follow().Apply(events), b.program(ctx))
}

func (b *Backend) follow() backend.Peers { return backend.Peers{Set: b.set, Unset: b.unset} }

// known yields the peers of any overlay, some of them twice.
func (b *Backend) known(yield func(string) bool) {
	for _, o := range b.overlays {
		for name := range o.peers {
			if !yield(name) {
				return
			}
		}
	}
}

// set wants what a peer's lease says. One that cannot be understood is as it
// was before.
func (b *Backend) set(l *lease.Lease) error {
	var errs []error
	for _, o := range b.overlays {
		p, err := o.read(l)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("peer %s, %v: %w", l.Name, l.PublicIP, err))
		case p == nil:
			o.unset(l.Name)
		default:
			o.set(l.Name, *p)
		}
	}
	return errors.Join(errs...)
}

func (b *Backend) unset(name string) {
	for _, o := range b.overlays {
		o.unset(name)
	}
}

// program carries out what is wanted. What fails is left to Run.
func (b *Backend) program(ctx context.Context) error {
	var errs []error
	for _, o := range b.overlays {
		errs = append(errs, o.program(ctx))
	}
	err := errors.Join(errs...)
	if err != nil {
		select {
		case b.retry <- struct{}{}:
		default:
		}
	}
	return err
}

// Cleanup deletes the devices, and with them all that was programmed on them.
func (b *Backend) Cleanup(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, o := range append(b.overlays, b.absent...) {
		errs = append(errs, o.clean(ctx))
	}
	return errors.Join(errs...)
}
