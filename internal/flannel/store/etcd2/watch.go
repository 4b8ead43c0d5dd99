package etcd2

import (
	"context"
	"strings"

	clientv2 "go.etcd.io/etcd/client/v2"

	"github.com/weftnet/weft/internal/flannel/store"
)

// Watch implements store.Store. Each change is a request of its own; etcd
// remembers the last thousand, whosever they are.
func (s *Store) Watch(ctx context.Context, path string, after int64, take func([]store.Change, int64)) error {
	take(nil, after)
	w := s.keys.Watcher(absolute(path), &clientv2.WatcherOptions{AfterIndex: uint64(after), Recursive: strings.HasSuffix(path, "/")})
	for {
		resp, err := w.Next(ctx)
		if err != nil {
			return s.explain(ctx, err)
		}
		deleted := resp.Action == "delete" || resp.Action == "expire" || resp.Action == "compareAndDelete"
		if resp.Node.Dir {
			if deleted {
				return store.ErrGone // with all that was in it, of which nothing is said
			}
			continue
		}
		take([]store.Change{{Pair: pair(path, resp.Node), Deleted: deleted}}, int64(resp.Node.ModifiedIndex))
	}
}
