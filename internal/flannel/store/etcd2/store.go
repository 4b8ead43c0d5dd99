// Package etcd2 is a store.Store over version 2 of etcd's interface, which
// flannel spoke up to v0.17. etcd serves it up to 3.5, behind --enable-v2 since
// 3.4. Keys of one version are not seen in the other.
package etcd2

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	clientv2 "go.etcd.io/etcd/client/v2"

	"github.com/weftnet/weft/internal/flannel/store"
)

// Store speaks to one cluster.
type Store struct {
	opts      store.Options
	transport *http.Transport
	keys      clientv2.KeysAPI
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
	transport := &http.Transport{DialContext: dialer(opts).DialContext, DialTLSContext: dialTLS(opts)}
	client, err := clientv2.New(clientv2.Config{
		Endpoints:               opts.Endpoints,
		Transport:               transport,
		Username:                opts.Username,
		Password:                opts.Password,
		HeaderTimeoutPerRequest: opts.Timeout,
	})
	if err != nil {
		return nil, err
	}
	return &Store{opts: opts, transport: transport, keys: clientv2.NewKeysAPI(client)}, nil
}

func dialer(opts store.Options) *net.Dialer {
	return &net.Dialer{Timeout: opts.Timeout, KeepAlive: 10 * time.Second}
}

// dialTLS reads the files of certificates and authorities for every connection,
// so that any of them may be replaced without a restart.
func dialTLS(opts store.Options) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		cfg, err := opts.TLS()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, 2*opts.Timeout) // to connect, and to shake hands
		defer cancel()
		d := tls.Dialer{NetDialer: dialer(opts), Config: cfg}
		return d.DialContext(ctx, network, addr)
	}
}

// Close ends what connections are idle; requests end with their contexts.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Keys of v2 begin with a slash, whatever was asked for.
func absolute(key string) string { return "/" + strings.Trim(key, "/") }
