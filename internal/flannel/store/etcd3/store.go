// Package etcd3 is a store.Store over version 3 of etcd's interface, which
// flannel speaks since v0.18.
package etcd3

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/weftnet/weft/internal/flannel/store"
)

// Store is connected to one cluster.
type Store struct {
	opts   store.Options
	turn   chan struct{}    // holds one while somebody has client
	client *clientv3.Client // nil before the first use
}

// Open checks the options and reads the files that they name. It does not
// connect.
func Open(opts store.Options) (*Store, error) {
	opts, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	if _, err := opts.TLS(); err != nil {
		return nil, err
	}
	return &Store{opts: opts, turn: make(chan struct{}, 1)}, nil
}

// Close ends all requests and watches.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.client == nil {
		return nil
	}
	return s.client.Close()
}

// connected returns the client, which with a user name is not to be had before
// etcd has answered.
func (s *Store) connected(ctx context.Context) (*clientv3.Client, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.client != nil {
		return s.client, nil
	}
	var err error
	s.client, err = s.connect(ctx)
	return s.client, err
}

// connect makes a client that outlives ctx, which ends no more than the wait for it.
func (s *Store) connect(ctx context.Context) (*clientv3.Client, error) {
	cfg, err := s.config()
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	cfg.Context = life
	stay := context.AfterFunc(ctx, end)
	client, err := clientv3.New(cfg)
	stayed := stay() // also where there is no client: ctx may be the agent's own
	if err == nil && stayed {
		return client, nil
	}
	end() // also what a client that could not be made has begun
	if err == nil {
		_ = client.Close()
		err = ctx.Err()
	}
	return nil, err
}

func (s *Store) config() (clientv3.Config, error) {
	tls, err := s.opts.TLS()
	dial := []grpc.DialOption{grpc.WithConnectParams(reconnect(s.opts.Timeout))}
	if tls != nil { // behind the client's own, which it counts more than
		dial = append(dial, grpc.WithTransportCredentials(filed{credentials.NewTLS(tls), s.opts}))
	}
	return clientv3.Config{
		Endpoints:   s.opts.Endpoints,
		TLS:         tls,
		Username:    s.opts.Username,
		Password:    s.opts.Password,
		DialTimeout: s.opts.Timeout,
		// A host that vanished does not end its connections. etcd refuses
		// clients that ask more often than every 5 s.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		Logger:               zap.NewNop(),
		DialOptions:          dial,
	}, err
}

// reconnect tries a dead endpoint as often as a watch is tried; gRPC by itself
// waits up to two minutes.
func reconnect(timeout time.Duration) grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 5 * time.Second},
		MinConnectTimeout: timeout,
	}
}

// do runs a request within its time, and explains its error.
func (s *Store) do(ctx context.Context, request func(context.Context, *clientv3.Client) error) error {
	client, err := s.connected(ctx)
	if err == nil {
		within, cancel := context.WithTimeout(ctx, s.opts.Timeout)
		defer cancel()
		err = request(within, client)
	}
	return s.explain(ctx, err)
}
