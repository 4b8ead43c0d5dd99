package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/flannel/subnetenv"
)

// cleanupLimit is how long a store that does not answer is waited for.
const cleanupLimit = 5 * time.Second

// Cleanup takes back what agents with these options made on this node, as far
// as it can, and returns what is left.
func Cleanup(ctx context.Context, o Options) error {
	n := &node{agent: &agent{Options: o, status: newStatus()}}
	defer n.close()
	if err := n.openMemory(ctx); err != nil {
		return err
	}
	var left []error
	for _, step := range []func(context.Context) error{n.openFilter, n.openStore, n.releaseBackend, n.releaseFormer, n.releaseRules, n.releaseLease, n.releaseFile} {
		left = append(left, step(ctx))
	}
	if err := errors.Join(left...); err != nil {
		return fmt.Errorf("something is left: %w", err)
	}
	return n.memory.forget()
}

// releaseBackend goes by what the last agent noted, or by the config in etcd
// where there was none, as after flanneld.
func (n *node) releaseBackend(ctx context.Context) error {
	cfg, err := n.memory.config()
	if err != nil || cfg == nil {
		if cfg, err = n.configNow(ctx); err != nil {
			return fmt.Errorf("no agent has noted what it made here, and there is no config to go by: %w", err)
		}
	}
	b, err := n.newBackend(n.memory.Place, cfg)
	if err == nil {
		err = b.Cleanup(ctx)
	}
	if err != nil {
		return fmt.Errorf("backend %s: %w", cfg.Backend.Type(), err)
	}
	n.Log.Info("took back the devices and routes", zap.String("backend", cfg.Backend.Type()))
	return nil
}

// releaseFormer takes back what agents could not when the config changed.
func (n *node) releaseFormer(ctx context.Context) error {
	err := n.takeBack(ctx, func(*netconf.Config) bool { return true })
	return errors.Join(err, n.memory.save())
}

// configNow returns the config if there is one within cleanupLimit.
func (n *node) configNow(ctx context.Context) (*netconf.Config, error) {
	if n.registry == nil {
		return nil, errors.New("no store is open")
	}
	ctx, cancel := context.WithTimeout(ctx, cleanupLimit)
	defer cancel()
	var why error
	cfg, err := n.registry.AwaitConfig(ctx, func(err error) { why = err; cancel() })
	if cfg == nil && why != nil {
		return nil, why
	}
	return cfg, err
}

// releaseRules first forgets the rules, by which agents of other networks would
// write them again as long as anything else is left.
func (n *node) releaseRules(ctx context.Context) error {
	n.memory.Rules = netfilter.Rules{}
	err := errors.Join(n.memory.save(), n.filter.Remove(ctx))
	if n.memory.Hole {
		err = errors.Join(err, delHoles(n.memory.Lease.Subnet))
	}
	return err
}

func (n *node) releaseFile(context.Context) error {
	if err := os.Remove(n.SubnetFile); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// releaseLease gives the subnet back. A reservation is whoever's who made it.
func (n *node) releaseLease(ctx context.Context) error {
	name, public := n.formerLease()
	if name == "" || n.registry == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cleanupLimit)
	defer cancel()
	l, found, err := n.registry.Lease(ctx, name)
	if err == nil && found && !l.Permanent && l.PublicIP == public {
		if err = n.registry.Delete(ctx, l); err == nil {
			n.Log.Info("gave the subnet back", zap.Stringer("subnet", l.Subnet))
		}
	}
	if err != nil {
		return fmt.Errorf("the lease %s stays until it expires: %w", name, err)
	}
	return nil
}

// formerLease is the one that the last agent noted, and of which node. Where there was
// none, as after flanneld, it is that of the subnet in subnet.env, and of the node
// that an agent with these options would be.
func (n *node) formerLease() (name string, public netip.Addr) {
	if n.memory.Lease.Name != "" {
		return n.memory.Lease.Name, n.memory.Lease.PublicIP
	}
	file, err := subnetenv.Read(n.SubnetFile)
	if err != nil || !file.Subnet.IsValid() {
		return "", public
	}
	s := lease.Subnet{IPv4: file.Subnet.Masked(), IPv6: file.IPv6Subnet.Masked()}
	place, err := n.Interface.Select(s.IPv6.IsValid())
	if err != nil {
		n.Log.Warn("the subnet of the file stays leased until that expires", zap.Stringer("subnet", s), zap.Error(err))
		return "", public
	}
	n.memory.Lease = lease.Lease{Subnet: s, Name: s.Key(), Record: lease.Record{PublicIP: place.Public}} // should it fail, and the file be gone
	if err := n.memory.save(); err != nil {
		n.Log.Warn("the lease is not noted", zap.Error(err))
	}
	return s.Key(), place.Public
}
