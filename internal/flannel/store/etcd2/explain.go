package etcd2

import (
	"context"
	"errors"
	"fmt"

	clientv2 "go.etcd.io/etcd/client/v2"

	"github.com/weftnet/weft/internal/flannel/store"
)

// explain says for people what an error of the client means.
func (s *Store) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	if errors.Is(err, clientv2.ErrInvalidJSON) {
		return fmt.Errorf("etcd does not serve the v2 API at %v: start it with --enable-v2 (3.4 and 3.5; later ones cannot), "+
			"or use --etcd-api=3: %w", s.opts.Endpoints, err)
	}
	var said clientv2.Error
	if !errors.As(err, &said) {
		return s.opts.Explain(ctx, err)
	}
	switch said.Code {
	case clientv2.ErrorCodeNodeExist:
		return store.ErrExists
	case clientv2.ErrorCodeTestFailed, clientv2.ErrorCodeKeyNotFound:
		return store.ErrChanged
	case clientv2.ErrorCodeEventIndexCleared:
		return store.ErrGone
	case clientv2.ErrorCodeUnauthorized:
		if s.opts.Username == "" {
			return fmt.Errorf("etcd wants a user: give --etcd-username and --etcd-password: %w", err)
		}
		return fmt.Errorf("etcd does not allow this to --etcd-username %q: %w", s.opts.Username, err)
	}
	return fmt.Errorf("etcd: %w", err)
}

// missing returns the revision at which a key was not there.
func missing(err error) (revision int64, ok bool) {
	var said clientv2.Error
	ok = errors.As(err, &said) && said.Code == clientv2.ErrorCodeKeyNotFound
	return int64(said.Index), ok
}
