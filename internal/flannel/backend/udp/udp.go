// Package udp is flannel's udp backend: a TUN device flannel0 on which the
// whole network is routed, and a daemon behind it that sends each packet in
// UDP, bare, to the node that has its subnet.
package udp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/backend/entries"
	"github.com/weftnet/weft/internal/flannel/backend/userlink"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
)

// overhead is what an IPv4 and a UDP header take from the underlay's MTU.
const overhead = 28

// Options are what a node decides by itself.
type Options struct {
	Daemon *userlink.Daemon
	Log    *zap.Logger
}

// Backend is a node of the udp backend. It is for IPv4, as flannel's is.
type Backend struct {
	log     *zap.Logger
	daemon  *userlink.Daemon
	node    backend.Node
	network netip.Prefix
	port    uint16
	both    bool // the network has IPv6 too

	mu     sync.Mutex
	name   string // of the device, once prepared
	index  int    // of the device as it was last seen
	own    netip.Prefix
	watch  *device.Watch
	retry  chan struct{}
	others bool // the network's route is another device's, and that has been said

	peers  map[string]peer // by the names of their leases
	routes *entries.Table[netip.Prefix, netip.Addr]
	filled bool // the peers are known: what is not theirs is stale
	unread bool // what is there may be otherwise than the table has it
}

// peer is a node and what it has.
type peer struct {
	subnet netip.Prefix
	public netip.Addr
}

var _ backend.Backend = (*Backend)(nil)

// New returns the backend of a node. The config's backend has to be
// *netconf.UDP.
func New(node backend.Node, cfg *netconf.Config, o Options) *Backend {
	return &Backend{
		log: o.Log, daemon: o.Daemon, node: node,
		network: cfg.IPv4.Network, port: cfg.Backend.(*netconf.UDP).Port, both: cfg.IPv6.Enabled(),
		retry: make(chan struct{}, 1),
		peers: map[string]peer{}, routes: entries.New[netip.Prefix, netip.Addr](),
	}
}

// Prepare makes the device, or takes over the one that is there. The lease
// says nothing of it: all nodes have the port that the config names.
func (b *Backend) Prepare(ctx context.Context) (lease.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.both {
		b.log.Warn("the udp backend carries IPv4 alone: IPv6 subnets are not reached by it")
	}
	if err := b.prepare(ctx); err != nil {
		return lease.Record{}, err
	}
	return lease.Record{PublicIP: b.node.Public}, nil
}

// Start gives the device its address, and the network's route to it.
func (b *Backend) Start(_ context.Context, own lease.Lease) (mtu int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.own = own.IPv4
	_, err = b.adjust()
	return b.mtu(), err
}

func (b *Backend) mtu() int { return b.node.MTU - overhead }

// Run keeps the device and its routes until ctx ends.
func (b *Backend) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signs := make(chan struct{}, 1)
	w, err := device.NewWatch(signs)
	if err != nil {
		return err
	}
	go w.Serve(ctx)
	b.mu.Lock()
	b.watch = w
	w.Index.Store(int32(b.index))
	b.mu.Unlock()
	k := device.Keeper{Log: b.log, Signs: signs, Failed: b.retry, Check: b.check}
	return k.Run(ctx)
}

// check holds all against what is wanted.
func (b *Backend) check(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.keep(ctx); err != nil {
		return fmt.Errorf("device %s: %w", b.name, err)
	}
	b.unread = true
	return b.tryProgram(ctx)
}

// Reset makes peers reachable, and nobody else.
func (b *Backend) Reset(ctx context.Context, peers []lease.Lease) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.filled, b.unread = true, true
	return errors.Join(b.follow().Reset(peers, maps.Keys(b.peers)), b.program(ctx))
}

// Apply follows the peers.
func (b *Backend) Apply(ctx context.Context, events []registry.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.follow().Apply(events), b.program(ctx))
}

func (b *Backend) follow() backend.Peers { return backend.Peers{Set: b.set, Unset: b.unset} }

// set wants a peer, of whatever backend its lease is, as flannel does.
func (b *Backend) set(l *lease.Lease) error {
	p := peer{l.IPv4.Masked(), l.PublicIP}
	old, known := b.peers[l.Name]
	if known && old == p {
		return nil
	}
	if err := backend.Apart(b.own, p.subnet); err != nil {
		return fmt.Errorf("peer %s, %v: %w", l.Name, l.PublicIP, err)
	}
	if known {
		b.routes.Release(l.Name, old.subnet)
	}
	b.peers[l.Name] = p
	b.routes.Claim(l.Name, p.subnet, p.public)
	return nil
}

func (b *Backend) unset(name string) {
	if old, known := b.peers[name]; known {
		b.routes.Release(name, old.subnet)
		delete(b.peers, name)
	}
}

// Cleanup deletes the device, and with it its routes.
func (b *Backend) Cleanup(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	links, err := b.daemon.Links(ctx)
	errs := []error{err}
	for i := range links {
		ours, err := b.owns(&links[i])
		if err == nil && ours {
			err = b.daemon.Remove(ctx, links[i].Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
