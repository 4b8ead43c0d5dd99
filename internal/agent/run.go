package agent

import (
	"context"
	"errors"
	"reflect"
	"sync"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/embedded"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/sdnotify"
)

// node is what the steps of a start find out.
type node struct {
	*agent
	registry *registry.Registry
	config   *netconf.Config
	place    backend.Node
	backend  backend.Backend
	memory   *memory
	lease    lease.Lease
	mtu      int
}

func (a *agent) run(ctx context.Context) error {
	n := &node{agent: a}
	for _, step := range []func(context.Context) error{
		n.openMemory, n.serveProbes, n.openFilter, n.openStore, n.awaitConfig, n.choosePlace, n.prepare, n.acquire, n.start, n.writeFile,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return n.keep(ctx)
}

// openStore begins with the store in this process, if it is to be here.
func (n *node) openStore(ctx context.Context) error {
	if n.Embedded.URL != "" {
		n.status.wait(ofStart, "etcd is being started in this process")
		s, err := embedded.Start(ctx, n.Embedded, n.Log)
		if err != nil {
			return err
		}
		ending := make(chan struct{})
		n.atEnd(func() { close(ending); s.Close() })
		go n.tellOfStore(s, ending)
		n.Log.Info("running etcd in this process", zap.String("url", n.Embedded.URL), zap.String("data", n.Embedded.Dir))
	}
	r, err := registry.Open(n.Registry)
	if err != nil {
		return err
	}
	n.registry = r
	n.atEnd(func() { _ = r.Close() })
	return nil
}

// tellOfStore waits for the end of the store in this process. If it ends by
// itself the node goes on as it does without one.
func (n *node) tellOfStore(s *embedded.Server, ending <-chan struct{}) {
	select {
	case <-ending:
	case err := <-s.Failed():
		if err != nil {
			n.Log.Error("the store in this process has ended", zap.Error(err))
		}
	}
}

// awaitConfig waits for a config that can be used for as long as it takes.
func (n *node) awaitConfig(ctx context.Context) (err error) {
	n.status.wait(ofStart, "the network config is being read")
	n.config, err = n.registry.AwaitConfig(ctx, func(err error) {
		n.status.wait(ofStart, err.Error())
		n.Log.Warn("waiting for the network config", zap.Error(err))
	})
	if err != nil {
		return err
	}
	n.Log.Info("read the network config", zap.String("backend", n.config.Backend.Type()), zap.Stringer("network", n.config.IPv4.Network))
	for _, u := range n.config.Unexpected {
		n.Log.Warn("in the network config", zap.String("key", u))
	}
	return nil
}

func (n *node) choosePlace(context.Context) (err error) {
	n.status.wait(ofStart, "the interface is being chosen")
	if n.place, err = n.Interface.Select(n.config.IPv6.Enabled()); err != nil {
		return err
	}
	fields := []zap.Field{zap.String("name", n.place.Interface), zap.Stringer("address", n.place.Addr), zap.Stringer("public", n.place.Public)}
	if n.place.Addr6.IsValid() {
		fields = append(fields, zap.Stringer("address6", n.place.Addr6), zap.Stringer("public6", n.place.Public6))
	}
	n.Log.Info("using interface", fields...)
	return nil
}

// keep serves the node until ctx ends or something that it cannot do without.
func (n *node) keep(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var tasks sync.WaitGroup
	for _, task := range []func(context.Context) error{n.keepLease, n.followPeers, n.followConfig, n.backend.Run, n.keepRules, n.keepFile} {
		tasks.Go(func() {
			if err := task(ctx); err != nil {
				end(err) // the first one counts
			}
		})
	}
	<-ctx.Done()
	n.notify(sdnotify.Stopping)
	tasks.Wait()
	return context.Cause(ctx)
}

func (n *node) notify(state string) {
	if err := sdnotify.Send(state); err != nil {
		n.Log.Warn("service manager was not told", zap.String("state", state), zap.Error(err))
	}
}

// followConfig tells of what a running node does not follow.
func (n *node) followConfig(ctx context.Context) error {
	return n.registry.FollowConfig(ctx, func(cfg *netconf.Config, err error) {
		var unusable *registry.ConfigError
		switch {
		case errors.As(err, &unusable):
			n.Log.Warn("this node goes on with the config that it was started with", zap.Error(err))
		case err != nil: // followPeers tells of the store
		case !reflect.DeepEqual(cfg, n.config):
			n.Log.Warn("the network config has changed: restart the agent to follow it", zap.String("backend", cfg.Backend.Type()))
		}
	})
}
