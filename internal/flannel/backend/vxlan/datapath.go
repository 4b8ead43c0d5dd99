package vxlan

import (
	"context"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/flannel/backend/entries"
	"github.com/weftnet/weft/routetable"
)

// datapath is a way to have a device and its FDB.
type datapath interface {
	kind() Datapath

	// agrees reports whether a device is one of this datapath and as wanted,
	// but for what can be changed while packets pass.
	agrees(context.Context, netlink.Link) (bool, error)

	create(context.Context, routetable.MAC) error

	// recreate does so for one that was there until now.
	recreate(context.Context, routetable.MAC) error

	// entries returns the FDB's permanent entries. One that is not as ours
	// are has the zero Addr.
	entries(ctx context.Context, index int) (map[routetable.MAC]netip.Addr, error)

	// replace and remove change at most batch entries of the FDB.
	replace(ctx context.Context, index int, part []fdbEntry) map[routetable.MAC]error
	remove(ctx context.Context, index int, part []fdbEntry) map[routetable.MAC]error
	batch() int
}

type fdbEntry = entries.Entry[routetable.MAC, netip.Addr]
