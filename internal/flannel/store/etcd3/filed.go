package etcd3

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/weftnet/weft/internal/flannel/store"
)

// filed are credentials that are read from their files for every connection,
// so that any of them may be replaced without a restart. Those that the client
// makes hold the authorities that there were at its start.
type filed struct {
	credentials.TransportCredentials
	opts store.Options
}

// ClientHandshake implements credentials.TransportCredentials.
func (f filed) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, err := f.opts.TLS()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(cfg).ClientHandshake(ctx, authority, raw)
}

// Clone implements credentials.TransportCredentials.
func (f filed) Clone() credentials.TransportCredentials {
	return filed{f.TransportCredentials.Clone(), f.opts}
}
