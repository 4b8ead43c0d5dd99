package agent

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// rules are what the host's packet filter has to have for the containers'
// packets.
type rules interface {
	Resync(ctx context.Context) error
	Remove(ctx context.Context) error
}

// startRules puts them in place for the first time.
func (n *node) startRules(ctx context.Context) error {
	n.memory.Hole = n.memory.Hole || n.Blackhole
	if err := n.memory.save(); err != nil {
		return err
	}
	n.resync(ctx)
	return nil
}

// keepRules looks again every --iptables-resync seconds.
func (n *node) keepRules(ctx context.Context) error {
	tick := time.NewTicker(n.Resync)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			n.resync(ctx)
		}
	}
}

// resync tells of the same trouble once.
func (n *node) resync(ctx context.Context) {
	n.check(ctx, ofFilter, "packet filter", n.rules != nil, func() error { return n.rules.Resync(ctx) })
	n.check(ctx, ofHole, "blackhole route", n.Blackhole, func() error { return addHoles(n.lease.Subnet) })
}

func (n *node) check(ctx context.Context, p part, what string, wanted bool, put func() error) {
	if !wanted {
		return
	}
	err := put()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		if n.status.wait(p, what+": "+err.Error()) {
			n.Log.Error(what+": something is missing, which is tried again", zap.Error(err))
		}
	case n.status.well(p):
		n.Log.Info(what + ": all is there now")
	}
}
