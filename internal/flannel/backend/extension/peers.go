package extension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/store"
)

func peerOf(l lease.Lease, data string) peer {
	return peer{l.IPv4, l.IPv6, l.PublicIP, l.PublicIPv6, data}
}

// read returns what a lease says. One of another backend, or an old one of this
// node, says nothing.
func (x *extension) read(l lease.Lease) (p peer, ok bool, err error) {
	switch {
	case l.BackendType != netconf.TypeExtension:
		x.log.Warn("node is of another backend and ignored", zap.Stringer("subnet", l.Subnet), zap.Stringer("node", l.PublicIP),
			zap.String("backend", l.BackendType))
		return peer{}, false, nil
	case l.PublicIP == x.node.Public:
		x.log.Info("lease is an old one of this node and ignored", zap.Stringer("subnet", l.Subnet))
		return peer{}, false, nil
	}
	if err := errors.Join(backend.Apart(x.own.IPv4, l.IPv4), backend.Apart(x.own.IPv6, l.IPv6)); err != nil {
		return peer{}, false, fmt.Errorf("extension: node %v: %w", l.PublicIP, err)
	}
	var data string
	if l.BackendData != nil {
		if err := json.Unmarshal(l.BackendData, &data); err != nil {
			return peer{}, false, fmt.Errorf("extension: node %v with %v: BackendData is to be a string: %w", l.PublicIP, l.Subnet, err)
		}
	}
	return peerOf(l, data), true, nil
}

// environment is what the commands find in their variables: those that
// flannel's documentation names, where flannel sets but some.
func (x *extension) environment(p peer) []string {
	return []string{
		"NETWORK=" + x.cfg.IPv4.Network.String(),
		"SUBNET=" + p.Subnet.String(),
		"PUBLIC_IP=" + p.PublicIP.String(),
		"IPV6SUBNET=" + orNothing(p.IPv6Subnet),
		"PUBLIC_IPV6=" + orNothing(p.PublicIPv6),
	}
}

func orNothing[T interface {
	IsValid() bool
	String() string
}](v T) string {
	if !v.IsValid() {
		return ""
	}
	return v.String()
}

// add runs SubnetAddCommand. Where a former process did, its refusal is taken
// to say that all is there already.
func (x *extension) add(ctx context.Context, p peer) error {
	if !x.subnetAdd.given() {
		return x.ledger.add(p)
	}
	said, err := x.subnetAdd.run(ctx, x.environment(p), p.Data)
	switch {
	case err == nil:
		x.log.Info("node was added", zap.Stringer("subnet", p.Subnet), zap.Stringer("node", p.PublicIP), zap.String("output", said))
	case x.before[p.Subnet] && x.ledger.peers[p.Subnet] == p && ctx.Err() == nil:
		x.log.Warn("node was added by a former process and could not be again", zap.Stringer("subnet", p.Subnet), zap.Error(err))
	default:
		x.failed[p.Subnet] = p
		select {
		case x.poke <- struct{}{}:
		default:
		}
		return fmt.Errorf("extension: node %v with %v: %w", p.PublicIP, p.Subnet, err)
	}
	delete(x.failed, p.Subnet)
	return x.ledger.add(p)
}

// remove runs SubnetRemoveCommand. If that fails there is nothing to try again:
// most likely what it is to remove is gone.
func (x *extension) remove(ctx context.Context, p peer) error {
	if !x.subnetRemove.given() {
		return x.ledger.remove(p)
	}
	said, err := x.subnetRemove.run(ctx, x.environment(p), p.Data)
	switch {
	case err == nil:
		x.log.Info("node was removed", zap.Stringer("subnet", p.Subnet), zap.Stringer("node", p.PublicIP), zap.String("output", said))
	case ctx.Err() != nil: // it was broken off, and is for the next process to do
		return err
	default:
		err = fmt.Errorf("extension: node %v with %v: %w", p.PublicIP, p.Subnet, err)
	}
	return errors.Join(err, x.ledger.remove(p))
}

// retries are further apart the longer a command fails.
var retries = store.Backoff{Min: time.Second, Max: 5 * time.Minute}

// Run tries again what failed, until ctx ends, whose error it returns.
func (x *extension) Run(ctx context.Context) error {
	said := map[netip.Prefix]string{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.poke:
		}
		backoff := retries
		for left := true; left; {
			if err := backoff.Wait(ctx); err != nil {
				return err
			}
			left = x.retry(ctx, said)
		}
	}
}

// retry reports whether there is still something that failed. Of the same
// trouble it tells once.
func (x *extension) retry(ctx context.Context, said map[netip.Prefix]string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for subnet, p := range x.failed {
		err := x.add(ctx, p)
		if err == nil {
			delete(said, subnet)
		} else if err.Error() != said[subnet] && ctx.Err() == nil {
			said[subnet] = err.Error()
			x.log.Warn("command failed again, and is tried further", zap.Error(err))
		}
	}
	return len(x.failed) > 0
}
