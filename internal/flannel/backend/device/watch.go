package device

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Watch tells that somebody has to look at a device. It keeps nothing of what
// happened.
type Watch struct {
	Index atomic.Int32 // the device; 0 = any, while there is none

	socket *os.File
	signs  chan<- struct{}
}

// NewWatch begins to watch the devices of the namespace and their addresses.
// signs, which has to have room for one value, gets one when something
// happened.
func NewWatch(signs chan<- struct{}) (*Watch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch devices: %w", err)
	}
	groups := uint32(1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1))
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch devices: %w", err)
	}
	return &Watch{socket: os.NewFile(uintptr(fd), "netlink"), signs: signs}, nil
}

// Serve reads what happens until ctx ends, and closes the watch.
func (w *Watch) Serve(ctx context.Context) {
	defer w.socket.Close()
	defer context.AfterFunc(ctx, func() { w.socket.Close() })()
	buf := make([]byte, 64<<10)
	for {
		n, err := w.socket.Read(buf)
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		if err != nil || w.concerns(buf[:n]) { // ENOBUFS: more happened than was read
			w.sign()
		}
	}
}

func (w *Watch) sign() {
	select {
	case w.signs <- struct{}{}:
	default: // one waits already
	}
}

// concerns reports whether a message tells of the device. The kernel sends one
// at a time. ifinfomsg and ifaddrmsg both have the index in their second word.
func (w *Watch) concerns(message []byte) bool {
	if len(message) < unix.NLMSG_HDRLEN+8 {
		return false
	}
	switch binary.NativeEndian.Uint16(message[4:]) {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_DELADDR:
		index := w.Index.Load()
		return index == 0 || index == int32(binary.NativeEndian.Uint32(message[unix.NLMSG_HDRLEN+4:]))
	}
	return false
}
