package agent

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/netfilter"
)

// packetFilter is the host's, with the rules that the containers' packets need.
type packetFilter interface {
	// Apply makes the rules stand, and no others of their kind. Where it fails
	// Resync tries again.
	Apply(ctx context.Context, r netfilter.Rules) error
	// Resync puts in place what is missing.
	Resync(ctx context.Context) error
	// Remove takes all back, also what a former process has left.
	Remove(ctx context.Context) error
}

func (n *node) openFilter(context.Context) error {
	if n.filter == nil {
		beside := beside{memory: n.memory, known: map[string]netfilter.Rules{}}
		n.filter = netfilter.New(n.Log.Named("netfilter"), beside.rules)
	}
	return nil
}

// startRules puts them in place for the first time.
func (n *node) startRules(ctx context.Context) error {
	n.memory.Hole = n.memory.Hole || n.Blackhole
	n.memory.Rules = n.wantedRules()
	if err := n.memory.save(); err != nil {
		return err
	}
	n.check(ctx, ofFilter, "packet filter", func() error { return n.filter.Apply(ctx, n.wantedRules()) })
	n.checkHole(ctx)
	return nil
}

func (n *node) wantedRules() netfilter.Rules {
	return netfilter.Rules{
		Network: n.config.IPv4.Network, Subnet: n.lease.IPv4,
		Network6: n.config.IPv6.Network, Subnet6: n.lease.IPv6,
		Forward: n.Forward, Masquerade: n.Masquerade, RandomFully: !n.FixedPorts, NFT: n.config.EnableNFT,
	}
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
			n.check(ctx, ofFilter, "packet filter", func() error { return n.filter.Resync(ctx) })
			n.checkHole(ctx)
		}
	}
}

func (n *node) checkHole(ctx context.Context) {
	if n.Blackhole {
		n.check(ctx, ofHole, "blackhole route", func() error { return addHoles(n.lease.Subnet) })
	}
}

// check tells of the same trouble once.
func (n *node) check(ctx context.Context, p part, what string, put func() error) {
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
