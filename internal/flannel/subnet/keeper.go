package subnet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/flannel/store"
)

// Keeper keeps a lease that Acquire returned: it renews it in time, and when
// it has gone from the registry, puts it there again as long as nobody else
// has the subnet. Nothing of the node's traffic depends on that meanwhile.
type Keeper struct {
	Registry *registry.Registry
	Lease    lease.Lease
	Margin   time.Duration // how long before its end it is renewed
	TTL      time.Duration // 0 is registry.TTL
	Timer    Timer         // nil for one that goes by the time of day, as Registry.Now should

	Kept    func(lease.Lease, Reason) // what is in the registry by now, may be nil
	Trouble func(error)               // what went wrong and is tried again until Kept, may be nil

	retry    store.Backoff // of what failed, from one success to the next
	rival    store.Backoff // of what somebody else writes again and again, from one renewal to the next
	troubled bool          // and Trouble knows
	foreign  bool          // under Lease.Revision stands another record
}

// Reason is why a lease was written, or found to be another.
type Reason int

// The reasons.
const (
	Renewed  Reason = iota // its end had come near
	Regained               // it was gone
	Restored               // somebody had written something else under this node's address
	Adopted                // somebody gave it another end, or none
)

// Lost is the end of a Keeper whose subnet another node has.
type Lost struct{ Mine, Other lease.Lease }

// Error names both.
func (l *Lost) Error() string {
	return fmt.Sprintf("the subnet %v of this node (%v) belongs to node %v by now, as lease %s",
		l.Mine.Subnet, l.Mine.PublicIP, l.Other.PublicIP, l.Other.Name)
}

// Run keeps the lease until ctx ends, whose error it returns, or the subnet
// belongs to another node, which is a *Lost.
func (k *Keeper) Run(ctx context.Context) error {
	k.complete()
	ctx, stop := context.WithCancel(ctx)
	look, watched := k.watch(ctx)
	defer func() { stop(); <-watched }()
	wait := k.untilRenewal()
	for {
		err := k.await(ctx, look, wait)
		var lost *Lost
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &lost):
			return err
		case err == nil:
			k.troubled = false
			k.retry.Reset()
			wait = k.untilRenewal()
		case errors.Is(err, errRival):
			k.retry.Reset()
			wait = k.rival.Next()
		default:
			k.tell(err)
			wait = k.retry.Next()
		}
	}
}

// watch sends whenever there may be something new, and closes watched when it
// has ended with ctx.
func (k *Keeper) watch(ctx context.Context) (look chan struct{}, watched chan struct{}) {
	look, watched = make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(watched)
		_ = k.Registry.WatchLease(ctx, k.Lease.Name, func() {
			select {
			case look <- struct{}{}:
			default: // it has not looked yet, and will see this too
			}
		})
	}()
	return look, watched
}

func (k *Keeper) complete() {
	if k.TTL == 0 {
		k.TTL = registry.TTL
	}
	if k.Timer == nil {
		k.Timer = timer
	}
	if k.Kept == nil {
		k.Kept = func(lease.Lease, Reason) {}
	}
	if k.Trouble == nil {
		k.Trouble = func(error) {}
	}
	k.retry = store.Backoff{Min: time.Second, Max: time.Minute}
	k.rival = k.retry
}

const (
	forever = -1          // no renewal at all
	seldom  = time.Second // between two renewals, even with a margin that is longer than the lease
)

func (k *Keeper) untilRenewal() time.Duration {
	if k.Lease.Permanent {
		return forever
	}
	return max(seldom, k.Lease.Expires.Add(-k.Margin).Sub(k.Registry.Now()))
}

// await waits until something is to be done, and does it.
func (k *Keeper) await(ctx context.Context, look <-chan struct{}, wait time.Duration) error {
	var due <-chan time.Time
	if wait != forever {
		fired, stop := k.Timer(wait)
		defer stop()
		due = fired
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-look:
		return k.look(ctx)
	case <-due:
		return k.due(ctx)
	}
}

// due writes the lease, because its end is near or because somebody else wrote
// over it. If that does not fit what is there, it looks.
func (k *Keeper) due(ctx context.Context) error {
	l, err := k.Registry.Renew(ctx, k.Lease, k.TTL)
	switch {
	case errors.Is(err, store.ErrChanged):
		return k.look(ctx)
	case err != nil:
		return fmt.Errorf("renew the lease of %v: %w", k.Lease.Subnet, err)
	case k.foreign:
		return k.settle(ctx, l, Restored)
	default:
		k.rival.Reset()
		k.keep(l, Renewed)
	}
	return nil
}

func (k *Keeper) keep(l lease.Lease, why Reason) {
	k.Lease, k.foreign, k.troubled = l, false, false
	k.Kept(l, why)
}

// tell says what is wrong, of one trouble once.
func (k *Keeper) tell(err error) {
	if !k.troubled && !errors.Is(err, errAgain) {
		k.troubled = true
		k.Trouble(err)
	}
}
