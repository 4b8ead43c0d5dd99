package hostroutes

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/dump"
)

// kernel is the routing of one network namespace.
type kernel struct{ handle *netlink.Handle }

func openKernel() (*kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("reach the routes of this host: %w", err)
	}
	return &kernel{h}, nil
}

func (k *kernel) close() { k.handle.Close() }

// table is what the main table held at one moment.
type table struct {
	*devices
	to map[netip.Prefix][]netlink.Route // in the order in which they count
}

func (k *kernel) read() (*table, error) {
	t := &table{k.devices(), map[netip.Prefix][]netlink.Route{}}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := k.list(family)
		if err != nil {
			return nil, fmt.Errorf("read the routes of this host: %w", err)
		}
		for _, r := range routes {
			if dst := prefix(r.Dst); dst.IsValid() {
				t.to[dst] = append(t.to[dst], r)
			}
		}
	}
	return t, nil
}

// list returns what was read last where others change the table all the time.
// That may lack a route, which is put again, and does no harm.
func (k *kernel) list(family int) ([]netlink.Route, error) {
	routes, err := dump.Consistent(func() ([]netlink.Route, error) {
		return k.handle.RouteListFiltered(family, &netlink.Route{}, 0)
	})
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP): // no IPv6 here
		return nil, nil
	case errors.Is(err, netlink.ErrDumpInterrupted):
		return routes, nil
	}
	return routes, err
}

// devices are the names and indices of devices that were asked for.
type devices struct {
	handle *netlink.Handle
	index  map[string]int
	names  map[int]string
}

func (k *kernel) devices() *devices {
	return &devices{k.handle, map[string]int{}, map[int]string{}}
}

func (d *devices) find(name string) (int, error) {
	if index, ok := d.index[name]; ok {
		return index, nil
	}
	link, err := d.handle.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("device %s: %w", name, err)
	}
	d.index[name] = link.Attrs().Index
	return d.index[name], nil
}

// name returns the number for a device that is gone.
func (d *devices) name(index int) string {
	if _, ok := d.names[index]; !ok {
		d.names[index] = strconv.Itoa(index)
		if link, err := d.handle.LinkByIndex(index); err == nil {
			d.names[index] = link.Attrs().Name
		}
	}
	return d.names[index]
}
