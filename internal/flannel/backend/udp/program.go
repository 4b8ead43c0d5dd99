package udp

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/flannel/backend/entries"
	"github.com/weftnet/weft/internal/flannel/backend/userlink"
)

type route = entries.Entry[netip.Prefix, netip.Addr]

// program makes the link's routes as the peers want them. What fails is left
// to Run.
func (b *Backend) program(ctx context.Context) error {
	err := b.tryProgram(ctx)
	if err != nil {
		select {
		case b.retry <- struct{}{}:
		default:
		}
	}
	return err
}

// tryProgram does nothing until the peers are known: what a former process left
// serves on.
func (b *Backend) tryProgram(ctx context.Context) error {
	if !b.filled {
		return nil
	}
	if b.unread {
		found, err := b.look(ctx)
		if err != nil {
			return fmt.Errorf("device %s: read its routes: %w", b.name, err)
		}
		b.routes.Found(found)
		b.unread = false
	}
	failures := b.routes.Set(userlink.Batch, func(part []route) map[netip.Prefix]error {
		return b.change(ctx, dataplane.RouteReplace, part)
	})
	failures = append(failures, b.routes.Delete(userlink.Batch, func(part []route) map[netip.Prefix]error {
		return b.remove(ctx, part)
	})...)
	b.routes.Settle()
	return entries.Join(failures)
}

// look reads the link's routes. One that is not as ours are has the zero Addr.
func (b *Backend) look(ctx context.Context) (map[netip.Prefix]netip.Addr, error) {
	found := map[netip.Prefix]netip.Addr{}
	err := b.daemon.Routes(ctx, b.name, func(e *dataplane.RouteEntry) {
		found[e.Prefix] = netip.Addr{}
		if e.Port == b.port {
			found[e.Prefix] = e.Via
		}
	})
	return found, err
}

func (b *Backend) change(ctx context.Context, op dataplane.RouteOp, part []route) map[netip.Prefix]error {
	changes := make([]dataplane.RouteChange, len(part))
	for i, e := range part {
		changes[i] = dataplane.RouteChange{Op: op, Prefix: e.Key}
		if op == dataplane.RouteReplace {
			changes[i].Via = e.Value
		}
	}
	failed := map[netip.Prefix]error{}
	b.daemon.ChangeRoutes(ctx, b.name, changes, func(i int, err error) { failed[part[i].Key] = err })
	return failed
}

func (b *Backend) remove(ctx context.Context, part []route) map[netip.Prefix]error {
	failed := b.change(ctx, dataplane.RouteDelete, part)
	return entries.Remaining(failed, func() (map[netip.Prefix]netip.Addr, error) { return b.look(ctx) })
}
