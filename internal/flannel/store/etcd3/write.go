package etcd3

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weftnet/weft/internal/flannel/store"
)

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (store.Pair, error) {
	p, err := s.put(ctx, key, value, ttl, clientv3.Compare(clientv3.Version(key), "=", 0), store.ErrExists)
	p.Created = p.Revision
	return p, err
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, key string, value []byte, ttl time.Duration, revision int64) (store.Pair, error) {
	return s.put(ctx, key, value, ttl, clientv3.Compare(clientv3.ModRevision(key), "=", revision), store.ErrChanged)
}

// put sets key under a condition. As flannel does, each put comes with an etcd
// lease of its own, and the key's former one is left to expire with nothing
// attached to it.
func (s *Store) put(ctx context.Context, key string, value []byte, ttl time.Duration, when clientv3.Cmp, otherwise error) (store.Pair, error) {
	p := store.Pair{Key: key, Value: value, Permanent: ttl == 0}
	err := s.do(ctx, func(ctx context.Context, c *clientv3.Client) error {
		if err := grant(ctx, c, &p, ttl); err != nil {
			return err
		}
		put := clientv3.OpPut(key, string(value), clientv3.WithLease(clientv3.LeaseID(p.Lease)))
		resp, err := c.Txn(ctx).If(when).Then(put).Commit()
		if err != nil {
			return err // it may have been carried out, and then the key lives by the lease
		}
		if !resp.Succeeded {
			revoke(ctx, c, p)
			return otherwise
		}
		p.Revision = resp.Header.Revision
		return nil
	})
	if err != nil {
		return store.Pair{}, err
	}
	return p, nil
}

func grant(ctx context.Context, c *clientv3.Client, p *store.Pair, ttl time.Duration) error {
	if ttl == 0 {
		return nil
	}
	resp, err := c.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return err
	}
	p.Lease = int64(resp.ID)
	p.TTL = time.Duration(resp.TTL) * time.Second
	return nil
}

// revoke gives back a lease that nothing was attached to; one that cannot be
// given back expires.
func revoke(ctx context.Context, c *clientv3.Client, p store.Pair) {
	if p.Lease != 0 {
		_, _ = c.Revoke(ctx, clientv3.LeaseID(p.Lease))
	}
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, revision int64) error {
	return s.do(ctx, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
			Then(clientv3.OpDelete(key)).Commit()
		if err == nil && !resp.Succeeded {
			err = store.ErrChanged
		}
		return err
	})
}
