//go:build !portable

package dataplane

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/routetable"
)

// readAttributes asks the descriptor which device it is, and that device's
// namespace for the rest.
func readAttributes(device *tap.Device) (*attributes, error) {
	name, ns, err := device.Where()
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	return attributesIn(name, ns)
}

func attributesIn(name string, ns int) (*attributes, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(ns, &stat); err != nil {
		return nil, fmt.Errorf("namespace of %s: %w", name, err)
	}
	handle, err := netlinkIn(ns)
	if err != nil {
		return nil, fmt.Errorf("netlink in the namespace of %s: %w", name, err)
	}
	defer handle.Close()
	link, err := handle.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	attrs := attributesOf(link, stat.Ino)
	attrs.bridge = isBridge(handle, link.Attrs().MasterIndex)
	return attrs, nil
}

// isBridge reports whether the device of that number is a bridge; 0 is none.
func isBridge(handle *netlink.Handle, index int) bool {
	if index == 0 {
		return false
	}
	master, err := handle.LinkByIndex(index)
	return err == nil && (master.Type() == "bridge" || master.Type() == "openvswitch")
}

// netlinkIn opens netlink in a namespace. For the thread's own it does without
// setns, which would want CAP_SYS_ADMIN.
func netlinkIn(ns int) (*netlink.Handle, error) {
	if isOwnNamespace(ns) {
		return netlink.NewHandle(unix.NETLINK_ROUTE)
	}
	return netlink.NewHandleAt(netns.NsHandle(ns), unix.NETLINK_ROUTE)
}

func isOwnNamespace(ns int) bool {
	var there, here unix.Stat_t
	return unix.Fstat(ns, &there) == nil && unix.Stat("/proc/thread-self/ns/net", &here) == nil && there.Ino == here.Ino
}

func attributesOf(link netlink.Link, inode uint64) *attributes {
	a := link.Attrs()
	attrs := &attributes{name: a.Name, index: a.Index, netns: inode, mtu: a.MTU, up: a.Flags&net.FlagUp != 0, noARP: a.RawFlags&unix.IFF_NOARP != 0, queueLen: a.TxQLen}
	if len(a.HardwareAddr) == len(attrs.mac) {
		attrs.mac = routetable.MAC(a.HardwareAddr)
	}
	return attrs
}

// watch follows what the system does to the device, from namespace to
// namespace, until the link is removed. RTM_DELLINK does not say whether a
// device was deleted or moved away: the descriptor does.
func (l *Link) watch(log *zap.Logger) {
	for {
		moved, err := l.watchHere(log)
		if !moved {
			if err != nil && !errors.Is(err, tap.ErrClosed) {
				log.Warn("changes of the device are not followed any more", zap.String("link", l.Name()), zap.Error(err))
			}
			return
		}
	}
}

// watchHere follows the device in the namespace where it is now. It returns
// true when the device left for another one.
func (l *Link) watchHere(log *zap.Logger) (moved bool, err error) {
	name, ns, err := l.where()
	if err != nil {
		return false, tap.ErrClosed // deleted: the worker has noticed too
	}
	defer unix.Close(ns)
	updates, done := make(chan netlink.LinkUpdate, 16), make(chan struct{})
	defer close(done)
	var options netlink.LinkSubscribeOptions
	if !isOwnNamespace(ns) {
		namespace := netns.NsHandle(ns)
		options.Namespace = &namespace
	}
	if err := netlink.LinkSubscribeWithOptions(updates, done, options); err != nil {
		return false, err
	}
	attrs, err := attributesIn(name, ns)
	if err != nil {
		return true, nil // moved on between the two calls
	}
	l.take(attrs, log)
	return l.follow(updates, ns, log), nil
}

// follow takes updates until the device is gone from its namespace (true), or
// the link is removed (false). A message says only which number the device's
// master has; what that is, is asked for when it changes.
func (l *Link) follow(updates <-chan netlink.LinkUpdate, ns int, log *zap.Logger) (left bool) {
	have := l.attrs.Load()
	master := unknownMaster
	for {
		select {
		case <-l.stop:
			return false
		case u, ok := <-updates:
			if !ok {
				return true // overrun: subscribe again
			}
			if u.Attrs().Index != have.index {
				continue
			}
			if u.Header.Type == unix.RTM_DELLINK {
				return true // also when it leaves a bridge: look again
			}
			next := attributesOf(u.Link, have.netns)
			next.bridge = have.bridge
			if now := u.Attrs().MasterIndex; now != master {
				master, next.bridge = now, isBridgeIn(ns, now)
			}
			have = next
			l.take(next, log)
		}
	}
}

const unknownMaster = -1

func isBridgeIn(ns, index int) bool {
	handle, err := netlinkIn(ns)
	if err != nil {
		return false
	}
	defer handle.Close()
	return isBridge(handle, index)
}

// where is device.Where for a link that may be removed meanwhile.
func (l *Link) where() (name string, ns int, err error) {
	err = tap.ErrClosed
	l.port.loop.do(func() {
		select {
		case <-l.stop:
		default:
			name, ns, err = l.device.Where()
		}
	})
	return name, ns, err
}
