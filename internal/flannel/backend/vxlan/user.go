package vxlan

import (
	"context"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/flannel/backend/entries"
	"github.com/weftnet/weft/internal/flannel/backend/userlink"
	"github.com/weftnet/weft/routetable"
)

// userDevice is the datapath of a TAP link of the daemon.
type userDevice struct {
	want   *want
	daemon *userlink.Daemon
}

func (userDevice) kind() Datapath { return User }

func (u userDevice) config(mac routetable.MAC) dataplane.LinkConfig {
	w := u.want
	return dataplane.LinkConfig{
		Name: w.name, Address: mac.String(), MTU: w.mtu, VNI: w.vni, Local: w.local, Dev: w.dev, Port: w.port,
		NoLearning: !w.learning, IgnoreReserved: w.gbp, // GBP is in bits that are reserved otherwise
	}
}

func (u userDevice) agrees(ctx context.Context, l netlink.Link) (bool, error) {
	have, err := u.daemon.Link(ctx, u.want.name)
	if have == nil || have.Index != l.Attrs().Index {
		return false, err
	}
	w := u.config(routetable.MAC{})
	return !have.Routed() && have.VNI == w.VNI && have.Local == w.Local && have.Dev == w.Dev && have.Port == w.Port &&
		!have.Remote.IsValid() && have.NoLearning == w.NoLearning && have.IgnoreReserved == w.IgnoreReserved, nil
}

func (u userDevice) create(ctx context.Context, mac routetable.MAC) error {
	return u.daemon.Add(ctx, u.config(mac))
}

func (u userDevice) recreate(ctx context.Context, mac routetable.MAC) error {
	u.daemon.Await(ctx)
	return u.create(ctx, mac)
}

func (u userDevice) entries(ctx context.Context, _ int) (map[routetable.MAC]netip.Addr, error) {
	found := map[routetable.MAC]netip.Addr{}
	err := u.daemon.FDB(ctx, u.want.name, func(e *dataplane.FDBEntry) {
		if e.State != "permanent" || e.MAC == (routetable.MAC{}) {
			return
		}
		found[e.MAC] = netip.Addr{}
		if e.Port == u.want.port && e.VNI == u.want.vni && e.Via == "" {
			found[e.MAC] = e.Dst
		}
	})
	return found, err
}

func (userDevice) batch() int { return userlink.Batch }

func (u userDevice) replace(ctx context.Context, _ int, part []fdbEntry) map[routetable.MAC]error {
	return u.change(ctx, dataplane.FDBReplace, part)
}

func (u userDevice) remove(ctx context.Context, _ int, part []fdbEntry) map[routetable.MAC]error {
	failed := u.change(ctx, dataplane.FDBDelete, part)
	return entries.Remaining(failed, func() (map[routetable.MAC]netip.Addr, error) { return u.entries(ctx, 0) })
}

func (u userDevice) change(ctx context.Context, op dataplane.FDBOp, part []fdbEntry) map[routetable.MAC]error {
	changes := make([]dataplane.FDBChange, len(part))
	for i, e := range part {
		changes[i] = dataplane.FDBChange{Op: op, MAC: e.Key}
		if op == dataplane.FDBReplace {
			changes[i].Dst = e.Value
		}
	}
	failed := map[routetable.MAC]error{}
	u.daemon.ChangeFDB(ctx, u.want.name, changes, func(i int, err error) { failed[part[i].Key] = err })
	return failed
}
