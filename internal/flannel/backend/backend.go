// Package backend is what the ways have in common by which the nodes of a
// flannel network reach each other's subnets. Each has a package below; the
// agent drives one of them and knows none.
package backend

import (
	"context"
	"net/netip"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
)

// Node is where this node stands in the underlay.
type Node struct {
	Interface string // by which the peers are reached
	Index     int
	MTU       int

	Addr, Addr6     netip.Addr // of the interface; the zero Addr without one
	Public, Public6 netip.Addr // what the peers send to, as the lease says
}

// Backend programs one node. The methods are called in the order in which they
// stand here, Run beside Reset and Apply, and never two of the others at once.
//
// What it made outlives its process: a packet must not notice that an agent
// ended and another one, with the same config, took over what it finds.
type Backend interface {
	// Prepare makes what the lease tells the peers of, a device with its MAC,
	// and returns the lease's record.
	Prepare(ctx context.Context) (lease.Record, error)

	// Start gives the devices their addresses once the node has its subnet.
	// It returns the MTU of the containers' packets.
	Start(ctx context.Context, own lease.Lease) (mtu int, err error)

	// Run keeps what was made against others who undo it, until ctx ends, and
	// tries again what failed.
	Run(ctx context.Context) error

	// Reset makes peers, which are all of the network but the node itself,
	// reachable, and nobody else: what a former process left is taken away.
	Reset(ctx context.Context, peers []lease.Lease) error

	// Apply follows the peers, in order. A peer that cannot be served does not
	// keep the others from being served; the error names it.
	Apply(ctx context.Context, events []registry.Event) error

	// Cleanup takes back all that this or a former process made. It needs no
	// other method to have been called.
	Cleanup(ctx context.Context) error
}
