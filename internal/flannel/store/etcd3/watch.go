package etcd3

import (
	"context"
	"fmt"
	"math"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/weftnet/weft/internal/flannel/store"
)

// Watch implements store.Store. It does not use the watcher of the client
// package, which goes on by itself on a new connection: after a store that came
// back empty it would wait for a revision that is years away, and nobody would
// know.
func (s *Store) Watch(ctx context.Context, path string, after int64, take func([]store.Change, int64)) error {
	client, err := s.connected(ctx)
	if err != nil {
		return s.explain(ctx, err)
	}
	// A member that has lost its leader ends the stream instead of falling silent.
	within, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	stream, err := etcdserverpb.NewWatchClient(client.ActiveConnection()).Watch(within, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err == nil {
		err = stream.Send(request(path, after))
	}
	for err == nil {
		var resp *etcdserverpb.WatchResponse
		if resp, err = stream.Recv(); err == nil {
			err = handle(resp, after, take)
		}
	}
	return s.explain(ctx, err)
}

func request(path string, after int64) *etcdserverpb.WatchRequest {
	op := clientv3.OpGet(path, scope(path)...)
	return &etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
		CreateRequest: &etcdserverpb.WatchCreateRequest{
			Key:           op.KeyBytes(),
			RangeEnd:      op.RangeBytes(),
			StartRevision: after + 1,
			// Now and then an empty response moves the revision on, so that a
			// quiet watch does not outlive the store's memory.
			ProgressNotify: true,
		},
	}}
}

func handle(resp *etcdserverpb.WatchResponse, after int64, take func([]store.Change, int64)) error {
	switch {
	case resp.CompactRevision != 0:
		return store.ErrGone
	case resp.Canceled:
		return canceled(resp.CancelReason)
	case resp.Created && resp.Header.Revision < after:
		return store.ErrGone // another store, or a member that is yet to catch up
	case resp.Created:
		take(nil, after)
	case len(resp.Events) == 0:
		take(nil, resp.Header.Revision)
	default:
		// The header of a watch that catches up is ahead of its events.
		take(changes(resp.Events), resp.Events[len(resp.Events)-1].Kv.ModRevision)
	}
	return nil
}

// canceled gives back its type to an error that etcd has sent as text.
func canceled(reason string) error {
	if strings.HasSuffix(reason, rpctypes.ErrPermissionDenied.Error()) {
		return rpctypes.ErrPermissionDenied
	}
	return fmt.Errorf("the watch ends: %s", reason)
}

func changes(events []*mvccpb.Event) []store.Change {
	list := make([]store.Change, len(events))
	for i, e := range events {
		list[i] = store.Change{Pair: pair(e.Kv), Deleted: e.Type == mvccpb.DELETE}
	}
	return list
}
