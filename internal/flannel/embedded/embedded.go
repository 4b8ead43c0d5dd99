// Package embedded runs etcd in the process of the agent, for the first node of
// a network or a machine on its own. It alone brings the server with it.
package embedded

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// DefaultURL is where etcd is looked for, too, unless another place is named.
const DefaultURL = "http://127.0.0.1:2379"

// Options say where the store listens and where its data lie.
type Options struct {
	URL string // http://HOST:PORT
	Dir string
}

// Check refuses a URL that cannot be listened on.
func (o Options) Check() error {
	_, err := o.url()
	return err
}

func (o Options) url() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("--embedded-etcd=%s: wanted is a URL such as %s; where etcd is to be https, run one beside the agent", o.URL, DefaultURL)
	}
	if net.ParseIP(u.Hostname()) == nil {
		return nil, fmt.Errorf("--embedded-etcd=%s: wanted is the address to listen on, and %q is a name", o.URL, u.Hostname())
	}
	return u, nil
}

// Server is a running store, of one member, that serves both versions of
// etcd's interface.
type Server struct {
	etcd   *embed.Etcd
	served []*grpc.Server
}

// closeWithin is how long clients of the older interface, which wait for
// changes, may keep Close. What is in the store is on the disk by then.
const closeWithin = 2 * time.Second

// Start returns when the store answers, or ctx has ended.
func Start(ctx context.Context, o Options, log *zap.Logger) (*Server, error) {
	s, err := start(ctx, o, log)
	if err != nil {
		return nil, fmt.Errorf("run etcd at %s with its data in %s: %w", o.URL, o.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, o Options, log *zap.Logger) (*Server, error) {
	cfg, err := o.config(log)
	if err != nil {
		return nil, err
	}
	s := &Server{}
	cfg.ServiceRegister = func(g *grpc.Server) { s.served = append(s.served, g) }
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	if s.etcd, err = embed.StartEtcd(cfg); err != nil {
		return nil, err
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
		return s, nil
	case err = <-s.etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	return nil, err
}

func (o Options) config(log *zap.Logger) (*embed.Config, error) {
	client, err := o.url()
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Dir = o.Dir
	cfg.EnableV2 = true
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	// There is no other member, but etcd insists on a place for one.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// The history that the agents read is short, and the disk of a node small.
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	cfg.LogLevel = "warn"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log.Named("etcd").WithOptions(zap.IncreaseLevel(zap.ErrorLevel)))
	return cfg, nil
}

// Failed sends when the store ends by itself.
func (s *Server) Failed() <-chan error { return s.etcd.Err() }

// Close ends the store. Its data stay. Agents on other nodes watch it and would
// go on; etcd by itself gives such clients seven seconds.
func (s *Server) Close() {
	for _, g := range s.served {
		g.Stop()
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.etcd.Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeWithin):
	}
}
