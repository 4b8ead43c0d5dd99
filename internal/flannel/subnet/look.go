package subnet

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
)

// look compares what is in the registry with what should be there. It does not
// matter which change it comes after: it may be this node's own, or long past.
func (k *Keeper) look(ctx context.Context) error {
	there, found, err := k.Registry.Lease(ctx, k.Lease.Name)
	var malformed *registry.Malformed
	junk := errors.As(err, &malformed)
	switch {
	case err != nil && !junk:
		return fmt.Errorf("look after the lease of %v: %w", k.Lease.Subnet, err)
	case !found:
		return k.regain(ctx)
	case there.Revision == k.Lease.Revision && !k.foreign:
		return nil
	case !junk && there.PublicIP != k.Lease.PublicIP:
		return &Lost{k.Lease, there}
	case !junk && there.Equal(k.Lease.Record):
		return k.settle(ctx, there, Adopted)
	}
	// Somebody has written under this node's address what its peers cannot
	// reach it by: a person who reserves a subnet writes no more than the
	// address. The record is put back, but not at once, since it may be a
	// second agent that will do the same; whether the lease ends remains as
	// it is.
	k.Lease.Created, k.Lease.Revision, k.Lease.Permanent, k.foreign = there.Created, there.Revision, there.Permanent, true
	return errRival
}

// errRival says that somebody else's record stands in the lease.
var errRival = errors.New("somebody has written another record")

// regain puts the lease where it was, if the subnet is still free.
func (k *Keeper) regain(ctx context.Context) error {
	l, err := k.Registry.Create(ctx, k.Lease.Subnet, k.Lease.Record, k.TTL)
	if err != nil {
		return again(err)
	}
	return k.settle(ctx, l, Regained)
}

// settle takes a lease that may have been gone for a while, in which another node may
// have got some of its addresses under another key. That one keeps them.
func (k *Keeper) settle(ctx context.Context, l lease.Lease, why Reason) error {
	snap, err := k.Registry.Leases(ctx)
	if err != nil {
		return fmt.Errorf("look who else has addresses of %v: %w", l.Subnet, err)
	}
	if other := earlier(snap.Leases, l); other != nil {
		return errors.Join(&Lost{k.Lease, *other}, k.Registry.Delete(ctx, l))
	}
	k.keep(l, why)
	return nil
}
