// Package alloc is flannel's backend of that name: the node holds a lease, and
// whoever made the network's routes, a cloud's tables say, brings the packets.
package alloc

import (
	"context"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
)

// alloc programs nothing, so there is nothing to keep, to reset or to take back.
type alloc struct{ node backend.Node }

// New returns the backend of a node.
func New(node backend.Node) backend.Backend { return alloc{node} }

// Prepare returns a record without BackendType, as flannel's is; nor does
// flannel tell the IPv6 address, which nobody sends to on the network's behalf.
func (a alloc) Prepare(context.Context) (lease.Record, error) {
	return lease.Record{PublicIP: a.node.Public}, nil
}

// Start returns the MTU of the interface: packets go as they are.
func (a alloc) Start(context.Context, lease.Lease) (int, error) { return a.node.MTU, nil }

// Run waits until ctx ends, whose error it returns.
func (alloc) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (alloc) Reset(context.Context, []lease.Lease) error    { return nil }
func (alloc) Apply(context.Context, []registry.Event) error { return nil }
func (alloc) Cleanup(context.Context) error                 { return nil }
