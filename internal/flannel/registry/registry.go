// Package registry is what the nodes of a flannel network keep in etcd: one
// config, and a lease for the subnet of each node.
package registry

import (
	"context"
	"path"
	"time"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
)

// DefaultPrefix is where flannel keeps a network unless it is told otherwise.
const DefaultPrefix = "/coreos.com/network"

// TTL is how long a lease lasts unless it is renewed, flannel's for every network.
const TTL = 24 * time.Hour

// Registry is one network in a store. It is for any number of goroutines.
type Registry struct {
	// Now is the time of day, from which the ends of leases are reckoned.
	Now func() time.Time

	store   store.Store
	config  string // the key
	subnets string // the path of the leases, with a slash behind it
	other   *otherAPI
}

// New returns the network under prefix.
func New(s store.Store, prefix string) *Registry {
	return &Registry{Now: time.Now, store: s, config: path.Join(prefix, "config"), subnets: path.Join(prefix, "subnets") + "/"}
}

// Close closes the store.
func (r *Registry) Close() error { return r.store.Close() }

// Snapshot is what stands in the registry at one revision.
type Snapshot struct {
	Leases    []lease.Lease // sorted by name
	Malformed []Malformed
	Revision  int64
}

// Malformed is a key among the leases that is none, or whose value is none. It
// is the trouble of whoever wrote it; nobody else's lease suffers.
type Malformed struct {
	Name   string
	Subnet lease.Subnet // what it takes all the same; zero if the key says nothing
	Err    error
}

// Leases reads all leases. It does not ask when they expire, which over v3 is a
// request for each: that is Lease's.
func (r *Registry) Leases(ctx context.Context) (Snapshot, error) {
	read, err := r.store.Read(ctx, r.subnets)
	if err != nil {
		return Snapshot{}, err
	}
	snap := Snapshot{Revision: read.Revision}
	for _, p := range read.Pairs {
		if l, bad := r.parse(p); bad != nil {
			snap.Malformed = append(snap.Malformed, *bad)
		} else {
			snap.Leases = append(snap.Leases, l)
		}
	}
	return snap, nil
}

// Create takes a subnet, or returns store.ErrExists.
func (r *Registry) Create(ctx context.Context, s lease.Subnet, rec lease.Record, ttl time.Duration) (lease.Lease, error) {
	value, err := rec.Encode()
	if err != nil {
		return lease.Lease{}, err
	}
	p, err := r.store.Create(ctx, r.subnets+s.Key(), value, ttl)
	return r.written(lease.Lease{Subnet: s, Record: rec, Name: s.Key(), Created: p.Created}, p), err
}

// Renew writes the lease's record again, or returns store.ErrChanged if
// somebody else has written since. A permanent lease remains so.
func (r *Registry) Renew(ctx context.Context, l lease.Lease, ttl time.Duration) (lease.Lease, error) {
	value, err := l.Encode()
	if err != nil {
		return l, err
	}
	if l.Permanent {
		ttl = 0
	}
	p, err := r.store.Replace(ctx, r.subnets+l.Name, value, ttl, l.Revision)
	if err != nil {
		return l, err
	}
	return r.written(l, p), nil
}

func (r *Registry) written(l lease.Lease, p store.Pair) lease.Lease {
	l.Revision, l.Permanent, l.Expires = p.Revision, p.Permanent, r.expiry(p.TTL)
	return l
}

// Delete gives a lease back, or returns store.ErrChanged if somebody else has
// written since.
func (r *Registry) Delete(ctx context.Context, l lease.Lease) error {
	return r.store.Delete(ctx, r.subnets+l.Name, l.Revision)
}

func (r *Registry) expiry(left time.Duration) time.Time {
	if left == 0 {
		return time.Time{}
	}
	return r.Now().Add(left)
}
