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

// watcher is told of what changes in the network namespace where it was made.
type watcher struct {
	socket *nl.NetlinkSocket
}

func watch() (*watcher, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return nil, fmt.Errorf("watch the routes of this host: %w", err)
	}
	// A container may not force it; the ordinary limit does then.
	if socket.SetReceiveBufferSize(received, true) != nil {
		_ = socket.SetReceiveBufferSize(received, false)
	}
	return &watcher{socket}, nil
}

func (w *watcher) close() { w.socket.Close() }

// change is what has happened since the last one was taken.
type change struct {
	everything bool // links, addresses, rules, or more than could be told
	routes     []routeChange
}

type routeChange struct {
	gone  bool
	dst   netip.Prefix
	via   netip.Addr
	index int // of the device; 0 for several
}

// next waits for changes. After close it returns an error.
func (w *watcher) next() (change, error) {
	messages, _, err := w.socket.Receive()
	switch {
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
		return change{everything: true}, nil
	case errors.Is(err, os.ErrClosed):
		return change{}, err
	case err != nil:
		return change{}, fmt.Errorf("watch the routes of this host: %w", err)
	}
	var c change
	for i := range messages {
		c.add(&messages[i])
	}
	return c, nil
}

func (c *change) add(m *syscall.NetlinkMessage) {
	gone := m.Header.Type == unix.RTM_DELROUTE
	if !gone && m.Header.Type != unix.RTM_NEWROUTE {
		c.everything = true
		return
	}
	if len(m.Data) < unix.SizeofRtMsg {
		return
	}
	msg := nl.DeserializeRtMsg(m.Data)
	// What is cloned is the cache of IPv6; the local table follows addresses.
	if msg.Flags&unix.RTM_F_CLONED != 0 || msg.Table == unix.RT_TABLE_LOCAL {
		return
	}
	r := routeChange{gone: gone}
	if r.read(msg, m.Data[msg.Len():]) {
		c.routes = append(c.routes, r)
	}
}

func (r *routeChange) read(msg *nl.RtMsg, data []byte) bool {
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
			r.via = addr(attr.Value)
		case unix.RTA_OIF:
			r.index = int(nl.NativeEndian().Uint32(attr.Value))
		}
	}
	r.dst = netip.PrefixFrom(dst, int(msg.Dst_len))
	return r.dst.IsValid()
}
