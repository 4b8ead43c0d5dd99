package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
	"github.com/weftnet/weft/internal/flannel/subnet"
	"github.com/weftnet/weft/internal/flannel/subnetenv"
)

// prepare makes what the lease will tell of.
func (n *node) prepare(ctx context.Context) (err error) {
	n.status.wait(ofStart, "the backend is being prepared")
	if n.backend, err = n.newBackend(n.place, n.config); err != nil {
		return err
	}
	if err := n.memory.follow(n.place, n.config); err != nil {
		return err
	}
	if err := n.memory.save(); err != nil {
		return err
	}
	if err := n.replace(ctx, inTheWay); err != nil {
		return err
	}
	n.lease.Record, err = n.backend.Prepare(ctx)
	return n.ofBackend(err)
}

// ofBackend names what an error is of.
func (n *node) ofBackend(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("backend %s: %w", n.config.Backend.Type(), err)
}

// acquire gets a subnet, and waits for a store that does not answer.
func (n *node) acquire(ctx context.Context) error {
	n.status.wait(ofStart, "a subnet is being leased")
	claim := subnet.Claim{Record: n.lease.Record, Previous: n.previous(), TTL: n.ttl, Note: func(s string) { n.Log.Info(s) }}
	var said string
	var full error
	err := store.Retry(ctx, store.Backoff{}, func(err error) {
		n.status.wait(ofStart, err.Error())
		if said != err.Error() {
			said = err.Error()
			n.Log.Warn("no subnet yet", zap.Error(err))
		}
	}, func() (err error) {
		if n.lease, err = subnet.Acquire(ctx, n.registry, n.config, claim); errors.Is(err, subnet.ErrFull) {
			full, err = err, nil
		}
		return err
	})
	if err = errors.Join(err, full); err != nil {
		return err
	}
	n.Log.Info("leased a subnet", leaseFields(n.lease)...)
	if err := n.leaveHole(); err != nil {
		return err
	}
	n.memory.Lease = n.lease
	return n.memory.save()
}

// previous is the subnet that this node had, by its file.
func (n *node) previous() lease.Subnet {
	f, err := subnetenv.Read(n.SubnetFile)
	if err != nil {
		n.Log.Warn("the subnet that this node had is not known", zap.Error(err))
	}
	s := lease.Subnet{IPv4: f.Subnet, IPv6: f.IPv6Subnet}
	if !n.config.IPv6.Enabled() {
		s.IPv6 = lease.Subnet{}.IPv6
	}
	return s
}

func (n *node) start(ctx context.Context) (err error) {
	if err := n.replace(ctx, all); err != nil {
		return err
	}
	n.status.wait(ofStart, "devices are being given their addresses")
	if n.mtu, err = n.backend.Start(ctx, n.lease); err != nil {
		return n.ofBackend(err)
	}
	return n.startRules(ctx)
}

// keepLease ends with an error once the subnet is another node's: the
// containers' addresses are not this node's any more, and a new start gets
// another subnet.
func (n *node) keepLease(ctx context.Context) error {
	k := subnet.Keeper{
		Registry: n.registry, Lease: n.lease, Margin: n.RenewMargin, TTL: n.ttl,
		Kept:    n.kept,
		Trouble: func(err error) { n.Log.Warn("the lease is not written, and tried again", zap.Error(err)) },
	}
	err := k.Run(ctx)
	var lost *subnet.Lost
	if errors.As(err, &lost) {
		n.Log.Error("the subnet is lost; started again, the agent leases another, and the containers have to be started anew", zap.Error(err))
	}
	return err
}

func (n *node) kept(l lease.Lease, why subnet.Reason) {
	n.Log.Info(map[subnet.Reason]string{
		subnet.Renewed:  "renewed the lease",
		subnet.Regained: "the lease was gone and is there again",
		subnet.Restored: "somebody had changed the lease, which is as it was",
		subnet.Adopted:  "somebody gave the lease another end",
	}[why], leaseFields(l)...)
}

func leaseFields(l lease.Lease) []zap.Field {
	until := "for ever"
	if !l.Permanent {
		until = l.Expires.Format(time.RFC3339)
	}
	return []zap.Field{zap.Stringer("subnet", l.Subnet), zap.String("until", until)}
}
