package etcd3

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftnet/weft/internal/flannel/store"
)

// explain says for people what an error of the client means. What it knows
// nothing of passes unchanged.
func (s *Store) explain(ctx context.Context, err error) error {
	switch {
	case err == nil || ctx.Err() != nil:
		return errors.Join(ctx.Err(), err)
	case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrChanged), errors.Is(err, store.ErrGone):
		return err
	}
	switch etcd := rpctypes.Error(err); {
	case errors.Is(etcd, rpctypes.ErrAuthFailed):
		return fmt.Errorf("etcd refuses the name or the password of --etcd-username %q: %w", s.opts.Username, err)
	case errors.Is(etcd, rpctypes.ErrUserEmpty):
		return fmt.Errorf("etcd wants a user: give --etcd-username and --etcd-password: %w", err)
	case errors.Is(etcd, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("etcd does not allow this to %s: %w", s.who(), err)
	}
	if noAnswer(err) {
		return s.opts.Explain(ctx, err)
	}
	return fmt.Errorf("etcd: %w", err)
}

func (s *Store) who() string {
	if s.opts.Username == "" {
		return "clients without --etcd-username"
	}
	return fmt.Sprintf("--etcd-username %q", s.opts.Username)
}

func noAnswer(err error) bool {
	code := status.Code(err)
	return errors.Is(err, context.DeadlineExceeded) || code == codes.Unavailable || code == codes.DeadlineExceeded
}
