//go:build !portable

package dataplane

import (
	"errors"
	"maps"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/routetable"
)

// watchNeighbours follows the neighbour table of the link's device, from
// namespace to namespace, until the link is removed.
func (l *Link) watchNeighbours(log *zap.Logger) {
	for {
		again, err := l.watchNeighboursHere()
		if again {
			continue
		}
		if err != nil && !errors.Is(err, tap.ErrClosed) {
			log.Warn("the neighbour table of the device is not followed any more, so `proxy` answers as it was", zap.String("link", l.Name()), zap.Error(err))
		}
		return
	}
}

// watchNeighboursHere follows the table in the namespace where the device is
// now. It returns true when it has to be read anew.
func (l *Link) watchNeighboursHere() (again bool, err error) {
	select {
	case <-l.neighbours.moved: // that is what is being done
	default:
	}
	name, ns, err := l.where()
	if err != nil {
		return false, tap.ErrClosed
	}
	defer unix.Close(ns)
	updates, end, err := subscribeNeighbours(ns)
	if err != nil {
		return false, err
	}
	defer end()
	system, err := openNeighbourTable(name, ns)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return true, nil // moved on between the two calls
	}
	if err != nil {
		return false, err
	}
	defer system.close()
	table, err := system.read()
	if err != nil {
		return false, err
	}
	return l.followNeighbours(table, updates, system), nil
}

// neighbourBuffer is what the socket holds while updates are taken: some
// thousand changes made at once. What does not fit has the table read anew.
const neighbourBuffer = 1 << 20

// subscribeNeighbours delivers the changes of all neighbours in a namespace.
// end ends that.
func subscribeNeighbours(ns int) (updates <-chan netlink.NeighUpdate, end func(), err error) {
	to, done := make(chan netlink.NeighUpdate, 256), make(chan struct{})
	options := netlink.NeighSubscribeOptions{ReceiveBufferSize: neighbourBuffer}
	if !isOwnNamespace(ns) {
		namespace := netns.NsHandle(ns)
		options.Namespace = &namespace
	}
	if err := netlink.NeighSubscribeWithOptions(to, done, options); err != nil {
		close(done)
		return nil, nil, err
	}
	return to, func() {
		close(done)
		for range to { // the sender waits for room as long as it lives
		}
	}, nil
}

// followNeighbours publishes the table and what becomes of it, until it has to
// be read anew (true), or the link is removed (false). Changes that come in a
// burst are published together: each publishing copies the table.
func (l *Link) followNeighbours(table map[netip.Addr]neighbour, updates <-chan netlink.NeighUpdate, system *neighbourTable) (again bool) {
	for changed := true; ; {
		if changed {
			next := maps.Clone(table)
			l.neighbours.table.Store(&next)
			changed = false
		}
		select {
		case <-l.stop:
			return false
		case <-l.neighbours.moved:
			return true
		case addr := <-l.neighbours.unknown:
			if !system.has(addr) {
				l.tellMissed(addr)
			}
		case u, ok := <-updates:
			if !ok {
				return true // overrun
			}
			changed = system.update(table, &u)
			for range len(updates) {
				if u, ok := <-updates; ok && system.update(table, &u) {
					changed = true
				}
			}
		}
	}
}

// neighbourTable is the system's table of one device.
type neighbourTable struct {
	handle *netlink.Handle
	asked  map[int]*nl.SocketHandle
	index  int
}

// openNeighbourTable finds the table of a device in a namespace.
func openNeighbourTable(name string, ns int) (*neighbourTable, error) {
	handle, err := netlinkIn(ns)
	if err != nil {
		return nil, err
	}
	link, err := handle.LinkByName(name)
	if err != nil {
		handle.Close()
		return nil, err
	}
	at := netns.None()
	if !isOwnNamespace(ns) {
		at = netns.NsHandle(ns)
	}
	socket, err := nl.GetNetlinkSocketAt(at, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		handle.Close()
		return nil, err
	}
	return &neighbourTable{
		handle: handle,
		asked:  map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}},
		index:  link.Attrs().Index,
	}, nil
}

func (t *neighbourTable) close() {
	t.handle.Close()
	for _, s := range t.asked {
		s.Close()
	}
}

// read returns all entries. One that changes meanwhile may be missing or old:
// the updates that were subscribed to before put it right.
func (t *neighbourTable) read() (map[netip.Addr]neighbour, error) {
	table := map[netip.Addr]neighbour{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := t.handle.NeighList(t.index, family)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, err
		}
		for i := range all {
			t.update(table, &netlink.NeighUpdate{Type: unix.RTM_NEWNEIGH, Neigh: all[i]})
		}
	}
	return table, nil
}

// update takes a change over, and reports whether it was one to this table:
// there are others' in the namespace, and bridges tell of their FDBs in the
// same messages.
func (t *neighbourTable) update(table map[netip.Addr]neighbour, u *netlink.NeighUpdate) bool {
	addr, ok := netip.AddrFromSlice(u.IP)
	if !ok || u.LinkIndex != t.index || u.Family != netlink.FAMILY_V4 && u.Family != netlink.FAMILY_V6 {
		return false
	}
	have, known := table[addr]
	switch u.Type {
	case unix.RTM_DELNEIGH:
		delete(table, addr)
		return known
	case unix.RTM_NEWNEIGH:
		table[addr] = neighbourOf(&u.Neigh)
		return !known || have != table[addr]
	}
	return false
}

func neighbourOf(n *netlink.Neigh) (entry neighbour) {
	const connected = netlink.NUD_PERMANENT | netlink.NUD_NOARP | netlink.NUD_REACHABLE
	if n.State&connected != 0 && len(n.HardwareAddr) == len(entry.mac) {
		entry = neighbour{mac: routetable.MAC(n.HardwareAddr), connected: true}
	}
	return entry
}

// has asks the system for one entry. It is asked because it does not tell of
// entries that it makes when it begins to look for a neighbour by itself:
// about these the kernel's device is silent. Kernels before 5.0 do not answer;
// there such addresses are told of.
func (t *neighbourTable) has(addr netip.Addr) bool {
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
	req.Sockets = t.asked
	req.AddData(&netlink.Ndmsg{Family: uint8(family), Index: uint32(t.index)})
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, addr.AsSlice()))
	found, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	return err == nil && len(found) > 0
}
