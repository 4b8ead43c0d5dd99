package etcd2

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	clientv2 "go.etcd.io/etcd/client/v2"

	"github.com/weftnet/weft/internal/flannel/store"
)

// Read implements store.Store.
func (s *Store) Read(ctx context.Context, path string) (store.Snapshot, error) {
	resp, err := s.keys.Get(ctx, absolute(path), &clientv2.GetOptions{Quorum: true, Recursive: strings.HasSuffix(path, "/")})
	if revision, ok := missing(err); ok {
		return store.Snapshot{Revision: revision}, nil
	}
	if err != nil {
		return store.Snapshot{}, s.explain(ctx, err)
	}
	snap := store.Snapshot{Revision: int64(resp.Index)}
	collect(&snap, path, resp.Node)
	slices.SortFunc(snap.Pairs, func(a, b store.Pair) int { return cmp.Compare(a.Key, b.Key) })
	return snap, nil
}

// collect adds the keys below node, which was asked for as path.
func collect(snap *store.Snapshot, path string, node *clientv2.Node) {
	if !node.Dir {
		snap.Pairs = append(snap.Pairs, pair(path, node))
	}
	for _, n := range node.Nodes {
		collect(snap, path, n)
	}
}

// pair names the key as the caller does, without a leading slash if path has none.
func pair(path string, node *clientv2.Node) store.Pair {
	key := node.Key
	if !strings.HasPrefix(path, "/") {
		key = strings.TrimPrefix(key, "/")
	}
	return store.Pair{
		Key:       key,
		Value:     []byte(node.Value),
		Created:   int64(node.CreatedIndex),
		Revision:  int64(node.ModifiedIndex),
		Permanent: node.Expiration == nil,
		TTL:       time.Duration(node.TTL) * time.Second,
	}
}

// TTL implements store.Store: a pair of v2 comes with its time.
func (s *Store) TTL(_ context.Context, p store.Pair) (time.Duration, error) { return p.TTL, nil }

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (store.Pair, error) {
	return s.set(ctx, key, value, &clientv2.SetOptions{PrevExist: clientv2.PrevNoExist, TTL: seconds(ttl)})
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, key string, value []byte, ttl time.Duration, revision int64) (store.Pair, error) {
	return s.set(ctx, key, value, &clientv2.SetOptions{PrevIndex: uint64(revision), TTL: seconds(ttl)})
}

func (s *Store) set(ctx context.Context, key string, value []byte, opts *clientv2.SetOptions) (store.Pair, error) {
	resp, err := s.keys.Set(ctx, absolute(key), string(value), opts)
	if err != nil {
		return store.Pair{}, s.explain(ctx, err)
	}
	return pair(key, resp.Node), nil
}

// seconds rounds up: what is less than a second would be for ever.
func seconds(ttl time.Duration) time.Duration {
	return (ttl + time.Second - 1).Truncate(time.Second)
}

// Delete implements store.Store. Flannel to 0.17 knows deletions as "delete" and
// "expire" alone (subnet/etcdv2/registry.go, parseSubnetWatchResponse); at what comes
// of one with a condition, "compareAndDelete", it looks again and again, and follows
// no lease meanwhile. So the condition is checked by a refresh, of which watchers are
// not told, and what is left of the key's time is a few seconds, should nothing come
// after that.
func (s *Store) Delete(ctx context.Context, key string, revision int64) error {
	_, err := s.keys.Set(ctx, absolute(key), "", &clientv2.SetOptions{
		PrevIndex: uint64(revision), PrevExist: clientv2.PrevExist, Refresh: true, TTL: deleteWithin,
	})
	if err != nil {
		return s.explain(ctx, err)
	}
	_, err = s.keys.Delete(ctx, absolute(key), nil)
	if _, gone := missing(err); gone {
		return nil
	}
	return s.explain(ctx, err)
}

const deleteWithin = 5 * time.Second
