package etcd3

import (
	"context"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weftnet/weft/internal/flannel/store"
)

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, path string) (snap store.Snapshot, err error) {
	err = s.do(ctx, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.Get(ctx, path, scope(path)...)
		if err != nil {
			return err
		}
		snap.Revision = resp.Header.Revision
		for _, kv := range resp.Kvs {
			snap.Pairs = append(snap.Pairs, pair(kv))
		}
		return nil
	})
	return snap, err
}

func scope(path string) []clientv3.OpOption {
	if strings.HasSuffix(path, "/") {
		return []clientv3.OpOption{clientv3.WithPrefix()}
	}
	return nil
}

func pair(kv *mvccpb.KeyValue) store.Pair {
	return store.Pair{
		Key:       string(kv.Key),
		Value:     kv.Value,
		Created:   kv.CreateRevision,
		Revision:  kv.ModRevision,
		Permanent: kv.Lease == 0,
		Lease:     kv.Lease,
	}
}

// TTL implements store.Store. The store has to be asked for each pair.
func (s *Store) TTL(ctx context.Context, p store.Pair) (left time.Duration, err error) {
	if p.Permanent {
		return 0, nil
	}
	err = s.do(ctx, func(ctx context.Context, c *clientv3.Client) error {
		resp, err := c.TimeToLive(ctx, clientv3.LeaseID(p.Lease))
		if err == nil && resp.TTL > 0 { // -1 for a lease that is gone
			left = time.Duration(resp.TTL) * time.Second
		}
		return err
	})
	return left, err
}
