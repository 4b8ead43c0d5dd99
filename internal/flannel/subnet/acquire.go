// Package subnet gets a node its subnet and keeps it.
package subnet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/flannel/store"
)

// tries is how often a node that others were faster than begins again.
const tries = 10

// errAgain says that somebody else has written meanwhile.
var errAgain = errors.New("others were faster")

// Claim is what a node asks for.
type Claim struct {
	Record   lease.Record  // its PublicIP is what tells this node's leases from others'
	Previous lease.Subnet  // what it had, by subnet.env; zero for none
	TTL      time.Duration // 0 is registry.TTL
	Note     func(string)  // told why a subnet is not used again, may be nil
}

// Acquire returns a lease of this node: the one that stands in the registry
// under its PublicIP, else the previous subnet if it is free, else one of the
// first hundred that are, at random.
func Acquire(ctx context.Context, r *registry.Registry, cfg *netconf.Config, c Claim) (lease.Lease, error) {
	if c.TTL == 0 {
		c.TTL = registry.TTL
	}
	if c.Note == nil {
		c.Note = func(string) {}
	}
	a := acquiring{r, cfg, c}
	for range tries {
		l, err := a.try(ctx)
		if !errors.Is(err, errAgain) {
			return l, err
		}
	}
	return lease.Lease{}, fmt.Errorf("no subnet in %d tries: each time another node took it first", tries)
}

type acquiring struct {
	registry *registry.Registry
	config   *netconf.Config
	Claim
}

func (a acquiring) try(ctx context.Context) (lease.Lease, error) {
	snap, err := a.registry.Leases(ctx)
	if err != nil {
		return lease.Lease{}, err
	}
	if own, ok := a.own(snap.Leases); ok {
		return a.reuse(ctx, own, snap.Leases)
	}
	// First, so that what this node has stays while there is nothing else for it.
	s, err := a.choose(a.others(snap))
	if err != nil {
		return lease.Lease{}, err
	}
	if err := a.dropOwn(ctx, snap); err != nil {
		return lease.Lease{}, err
	}
	return a.create(ctx, s)
}

// own returns the lease to use again; where one address has several, which
// happens when a node could not have its former subnet, the previous one.
func (a acquiring) own(leases []lease.Lease) (own lease.Lease, ok bool) {
	for _, l := range leases {
		if l.PublicIP != a.Record.PublicIP || !a.fits(l.Subnet) {
			continue
		}
		if !ok || l.Subnet == a.Previous {
			own, ok = l, true
		}
	}
	return own, ok
}

func (a acquiring) fits(s lease.Subnet) bool {
	return a.config.IPv4.Allows(s.IPv4) && a.config.IPv6.Allows(s.IPv6)
}

// reuse writes this node's present record to its lease. A reservation, which
// is a lease without an end, stays one.
func (a acquiring) reuse(ctx context.Context, l lease.Lease, leases []lease.Lease) (lease.Lease, error) {
	if earlier(leases, l) != nil {
		return a.makeRoom(ctx, l)
	}
	l.Record = a.Record
	l, err := a.registry.Renew(ctx, l, a.TTL)
	return l, again(err)
}

// others returns what is taken by other nodes.
func (a acquiring) others(snap registry.Snapshot) *taken {
	t := &taken{}
	for _, m := range snap.Malformed {
		t.add(m.Subnet)
	}
	for _, l := range snap.Leases {
		if l.PublicIP != a.Record.PublicIP {
			t.add(l.Subnet)
		}
	}
	return t
}

// dropOwn gives back what this node holds and the config no longer allows.
func (a acquiring) dropOwn(ctx context.Context, snap registry.Snapshot) error {
	for _, l := range snap.Leases {
		if l.PublicIP != a.Record.PublicIP {
			continue
		}
		a.Note(fmt.Sprintf("the lease of %v for this node does not fit the config any more and is given back", l.Subnet))
		if err := a.registry.Delete(ctx, l); err != nil {
			return again(err)
		}
	}
	return nil
}

func (a acquiring) choose(t *taken) (lease.Subnet, error) {
	switch {
	case a.Previous == (lease.Subnet{}):
	case !a.fits(a.Previous):
		a.Note(fmt.Sprintf("the previous subnet %v is not one that the config allows, and another is taken", a.Previous))
	case t.overlaps(a.Previous):
		a.Note(fmt.Sprintf("the previous subnet %v belongs to another node by now, and another is taken", a.Previous))
	default:
		return a.Previous, nil
	}
	return t.pick(a.config)
}

// create takes a subnet. That nobody has the key does not say that nobody has
// an address of it: keys of one IPv4 subnet differ where the IPv6 subnet does,
// and those of different lengths overlap. Who comes later in the store's order
// sees the other, and makes room.
func (a acquiring) create(ctx context.Context, s lease.Subnet) (lease.Lease, error) {
	l, err := a.registry.Create(ctx, s, a.Record, a.TTL)
	if err != nil {
		return l, again(err)
	}
	snap, err := a.registry.Leases(ctx)
	if err != nil {
		return l, err
	}
	if earlier(snap.Leases, l) != nil {
		return a.makeRoom(ctx, l)
	}
	return l, nil
}

func (a acquiring) makeRoom(ctx context.Context, l lease.Lease) (lease.Lease, error) {
	if err := a.registry.Delete(ctx, l); err != nil {
		return l, again(err)
	}
	return l, errAgain
}

// earlier returns a lease that overlaps l and was there first.
func earlier(leases []lease.Lease, l lease.Lease) *lease.Lease {
	for _, other := range leases {
		if other.Name != l.Name && other.Created < l.Created && other.Overlaps(l.Subnet) {
			return &other
		}
	}
	return nil
}

// again turns what another node's writing causes into another try.
func again(err error) error {
	if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrChanged) {
		return errAgain
	}
	return err
}
