package agent

import (
	"context"
	"sync"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/sdnotify"
)

const away = "forwarding goes on with the peers that are known, without etcd"

// followPeers hands the leases of the other nodes to the backend.
func (n *node) followPeers(ctx context.Context) error {
	bad := map[string]string{}
	return n.registry.Follow(ctx, registry.Follower{
		Take: n.takePeers(ctx),
		Malformed: func(m registry.Malformed) {
			if bad[m.Name] != m.Error() {
				bad[m.Name] = m.Error()
				n.Log.Warn("a key among the leases is passed over", zap.Error(&m))
			}
		},
		Away: func(err error) {
			n.status.wait(ofStore, away+": "+err.Error())
			n.Log.Warn(away, zap.Error(err))
		},
		Back: func() {
			n.status.well(ofStore)
			n.Log.Info("etcd answers again")
		},
	})
}

// takePeers returns what the registry calls. The backend tries again by itself
// what it could not do for a peer.
func (n *node) takePeers(ctx context.Context) func([]registry.Event) {
	var first sync.Once
	return func(events []registry.Event) {
		events = n.ofOthers(events)
		begin := false
		first.Do(func() { begin = true })
		var err error
		switch {
		case begin:
			err = n.backend.Reset(ctx, added(events))
		case len(events) > 0:
			err = n.backend.Apply(ctx, events)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			n.Log.Warn("not every peer is served, which is tried again", zap.Error(err))
		}
		if begin {
			n.status.well(ofStart)
			n.Log.Info("ready", zap.Int("peers", len(events)))
			n.notify(sdnotify.Ready)
		}
	}
}

// ofOthers leaves out what is this node's: its subnet, and whatever other
// subnet stands under its address, to which its packets would come back.
func (n *node) ofOthers(events []registry.Event) []registry.Event {
	var others []registry.Event
	for _, e := range events {
		own := n.own(e.Lease)
		switch {
		case e.Kind != registry.Changed && own:
			continue
		case e.Kind == registry.Changed && own && n.own(e.Old):
			continue
		case e.Kind == registry.Changed && own:
			e = registry.Event{Kind: registry.Removed, Lease: e.Old}
		case e.Kind == registry.Changed && n.own(e.Old):
			e = registry.Event{Kind: registry.Added, Lease: e.Lease}
		}
		others = append(others, e)
	}
	return others
}

func (n *node) own(l lease.Lease) bool {
	return l.Name == n.lease.Name || l.PublicIP == n.lease.PublicIP
}

func added(events []registry.Event) []lease.Lease {
	peers := make([]lease.Lease, 0, len(events))
	for _, e := range events {
		peers = append(peers, e.Lease)
	}
	return peers
}
