package hostroutes

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// groups are what may take a route away or change where one leads. The kernel
// does not tell of the IPv4 routes that go with a device or an address, so
// these are watched as well.
var groups = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
}

// received is how much the kernel keeps for a watcher that is busy. What does
// not fit is not lost but for its details: it comes as ENOBUFS.
const received = 1 << 20

// Watch is told of what changes in the network namespace where it was made.
type Watch struct {
	socket *nl.NetlinkSocket
}

// NewWatch begins to watch.
func NewWatch() (*Watch, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return nil, fmt.Errorf("watch the routes of this host: %w", err)
	}
	// A container may not force it; the ordinary limit does then.
	if socket.SetReceiveBufferSize(received, true) != nil {
		_ = socket.SetReceiveBufferSize(received, false)
	}
	return &Watch{socket}, nil
}

// Close ends the watch.
func (w *Watch) Close() { w.socket.Close() }

// Change is what has happened since the last one was taken.
type Change struct {
	All     bool  // rules, or more than could be told
	Devices []int // that have changed, or whose addresses have
	Routes  []RouteChange
}

// RouteChange is a route that came or went, of whatever table.
type RouteChange struct {
	Gone  bool
	Dst   netip.Prefix
	Via   netip.Addr
	Index int // of the device; 0 for several
}

// Next waits for changes. After Close it returns an error.
func (w *Watch) Next() (Change, error) {
	messages, _, err := w.socket.Receive()
	switch {
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
		return Change{All: true}, nil
	case errors.Is(err, os.ErrClosed):
		return Change{}, err
	case err != nil:
		return Change{}, fmt.Errorf("watch the routes of this host: %w", err)
	}
	var c Change
	for i := range messages {
		c.add(&messages[i])
	}
	return c, nil
}

func (c *Change) add(m *syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		c.addRoute(m)
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR:
		// ifinfomsg and ifaddrmsg both have the index in their second word.
		if len(m.Data) >= 8 {
			c.Devices = append(c.Devices, int(nl.NativeEndian().Uint32(m.Data[4:])))
		}
	default:
		c.All = true
	}
}

func (c *Change) addRoute(m *syscall.NetlinkMessage) {
	if len(m.Data) < unix.SizeofRtMsg {
		return
	}
	msg := nl.DeserializeRtMsg(m.Data)
	// What is cloned is the cache of IPv6; the local table follows addresses.
	if msg.Flags&unix.RTM_F_CLONED != 0 || msg.Table == unix.RT_TABLE_LOCAL {
		return
	}
	r := RouteChange{Gone: m.Header.Type == unix.RTM_DELROUTE}
	if r.read(msg, m.Data[msg.Len():]) {
		c.Routes = append(c.Routes, r)
	}
}

func (r *RouteChange) read(msg *nl.RtMsg, data []byte) bool {
	dst := netip.IPv4Unspecified()
	switch msg.Family {
	case unix.AF_INET:
	case unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		return false
	}
	attrs, err := nl.ParseRouteAttr(data)
	if err != nil {
		return false
	}
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case unix.RTA_DST:
			dst = addr(attr.Value)
		case unix.RTA_GATEWAY:
			r.Via = addr(attr.Value)
		case unix.RTA_OIF:
			r.Index = int(nl.NativeEndian().Uint32(attr.Value))
		}
	}
	r.Dst = netip.PrefixFrom(dst, int(msg.Dst_len))
	return r.Dst.IsValid()
}

// Leads reports whether other nodes' addresses may lie behind the route, which
// those that every device has do not.
func (r *RouteChange) Leads() bool {
	a := r.Dst.Addr()
	return !a.IsLinkLocalUnicast() && !a.IsMulticast()
}
