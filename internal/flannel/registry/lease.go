package registry

import (
	"context"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
)

// Lease reads one lease with its expiry, and reports whether there is one. Of
// one whose value is malformed, which is a *Malformed, the rest is known.
func (r *Registry) Lease(ctx context.Context, name string) (l lease.Lease, found bool, err error) {
	read, err := r.store.Read(ctx, r.subnets+name)
	if err != nil || len(read.Pairs) == 0 {
		return lease.Lease{}, false, err
	}
	l, bad := r.parse(read.Pairs[0])
	if bad != nil {
		return l, true, bad
	}
	left, err := r.store.TTL(ctx, read.Pairs[0])
	l.Expires = r.expiry(left)
	return l, true, err
}

// WatchLease calls changed at once, when the lease may have changed, and when
// changes may have been missed, until ctx ends, whose error it returns.
func (r *Registry) WatchLease(ctx context.Context, name string, changed func()) error {
	var backoff store.Backoff
	for {
		read, err := r.store.Read(ctx, r.subnets+name)
		if err == nil {
			changed()
			_ = r.store.Watch(ctx, r.subnets+name, read.Revision, func(changes []store.Change, _ int64) {
				backoff.Reset()
				if len(changes) > 0 {
					changed()
				}
			})
		}
		if err := backoff.Wait(ctx); err != nil {
			return err
		}
	}
}
