// Package extension is flannel's backend of that name: commands of the config
// bring the packets, as a program of the cluster's own may do.
package extension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
)

type extension struct {
	node backend.Node
	cfg  *netconf.Config
	log  *zap.Logger

	preStartup, postStartup command
	subnetAdd, subnetRemove command

	mu     sync.Mutex // held while commands run, which are one at a time
	own    lease.Subnet
	ledger *ledger
	before map[netip.Prefix]bool // in the ledger since a former process
	failed map[netip.Prefix]peer // to be added again
	poke   chan struct{}         // holds one when some were added to failed
}

// New returns the backend of a node. The config's backend has to be
// *netconf.Extension.
func New(node backend.Node, cfg *netconf.Config, log *zap.Logger) backend.Backend {
	c := cfg.Backend.(*netconf.Extension)
	return &extension{
		node: node, cfg: cfg, log: log,
		preStartup:   command{"PreStartupCommand", c.PreStartup, timeout},
		postStartup:  command{"PostStartupCommand", c.PostStartup, timeout},
		subnetAdd:    command{"SubnetAddCommand", c.SubnetAdd, timeout},
		subnetRemove: command{"SubnetRemoveCommand", c.SubnetRemove, timeout},
		failed:       map[netip.Prefix]peer{}, poke: make(chan struct{}, 1),
	}
}

// Prepare runs PreStartupCommand, whose output is what the lease tells the
// peers' SubnetAddCommand.
func (x *extension) Prepare(ctx context.Context) (lease.Record, error) {
	rec := lease.Record{PublicIP: x.node.Public, BackendType: netconf.TypeExtension}
	if x.cfg.IPv6.Enabled() {
		rec.PublicIPv6 = x.node.Public6
	}
	for _, c := range []command{x.preStartup, x.postStartup, x.subnetAdd, x.subnetRemove} {
		if err := c.check(); err != nil {
			return lease.Record{}, fmt.Errorf("extension: %w", err)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.open(); err != nil {
		return lease.Record{}, err
	}
	if !x.preStartup.given() {
		return rec, nil
	}
	said, err := x.preStartup.run(ctx, nil, "")
	if err != nil {
		return lease.Record{}, fmt.Errorf("extension: %w", err)
	}
	x.log.Info("command was run", zap.String("command", x.preStartup.key), zap.String("output", said))
	rec.BackendData, err = json.Marshal(said)
	return rec, err
}

// Start runs PostStartupCommand, and returns the MTU of the interface: what the
// commands add to the packets is not known.
func (x *extension) Start(ctx context.Context, own lease.Lease) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.own = own.Subnet
	if x.postStartup.given() {
		said, err := x.postStartup.run(ctx, x.environment(peerOf(own, "")), "")
		if err != nil {
			return 0, fmt.Errorf("extension: %w", err)
		}
		x.log.Info("command was run", zap.String("command", x.postStartup.key), zap.String("output", said))
	}
	return x.node.MTU, nil
}

// Reset runs SubnetAddCommand for all peers, also for those for which a former
// process did: PreStartupCommand may have begun anew. It runs
// SubnetRemoveCommand for those that are gone meanwhile.
func (x *extension) Reset(ctx context.Context, peers []lease.Lease) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.open(); err != nil {
		return err
	}
	x.before = map[netip.Prefix]bool{}
	stale := maps.Clone(x.ledger.peers)
	for subnet := range stale {
		x.before[subnet] = true
	}
	clear(x.failed)
	var errs []error
	for _, l := range peers {
		p, ok, err := x.read(l)
		errs = append(errs, err)
		if !ok {
			continue
		}
		if old, found := stale[p.Subnet]; found && old != p {
			errs = append(errs, x.remove(ctx, old))
		}
		delete(stale, p.Subnet)
		errs = append(errs, x.add(ctx, p))
	}
	for _, p := range stale {
		errs = append(errs, x.remove(ctx, p))
	}
	x.before = nil
	return errors.Join(errs...)
}

// Apply runs the commands for what has happened, in order. For a peer that
// says something else than before both are run, since few commands could add
// what is there already.
func (x *extension) Apply(ctx context.Context, events []registry.Event) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.open(); err != nil {
		return err
	}
	var errs []error
	for _, e := range events {
		if old, found := x.ledger.peers[e.Lease.IPv4]; found {
			errs = append(errs, x.remove(ctx, old))
		}
		delete(x.failed, e.Lease.IPv4)
		if e.Kind == registry.Removed {
			continue
		}
		p, ok, err := x.read(e.Lease)
		errs = append(errs, err)
		if ok {
			errs = append(errs, x.add(ctx, p))
		}
	}
	return errors.Join(errs...)
}

// Cleanup runs SubnetRemoveCommand for all peers. flannel has no command that
// undoes PreStartupCommand and PostStartupCommand.
func (x *extension) Cleanup(ctx context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.open(); err != nil {
		return err
	}
	var errs []error
	for _, p := range x.ledger.peers {
		errs = append(errs, x.remove(ctx, p))
	}
	return errors.Join(errs...)
}

// open opens the ledger. One that cannot be read is begun anew.
func (x *extension) open() (err error) {
	if x.ledger != nil {
		return nil
	}
	x.ledger, err = openLedger(x.cfg.IPv4.Network)
	if x.ledger != nil && err != nil {
		x.log.Warn("what was left of nodes that are gone is not known", zap.Error(err))
		return nil
	}
	return err
}
