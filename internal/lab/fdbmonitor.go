//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// FDBMonitor collects what the kernel says of changes to FDBs, as `bridge
// monitor fdb` does.
type FDBMonitor struct {
	host  *Host
	file  *os.File
	seen  []FDBEntry
	names map[int]string // of devices, also of those that are gone
}

// MonitorFDB starts listening. Changes that were asked for and done afterwards
// are in the next Events.
func (h *Host) MonitorFDB() (*FDBMonitor, error) {
	m := &FDBMonitor{host: h, names: map[int]string{}}
	links, err := h.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("host %s: listing devices: %w", h.Name, err)
	}
	for _, l := range links {
		m.names[l.Attrs().Index] = l.Attrs().Name
	}
	err = h.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		m.file = os.NewFile(uintptr(fd), "neighbour events")
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20),
			unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_NEIGH - 1)}),
		)
	})
	if err != nil {
		return nil, fmt.Errorf("listening for FDB changes: %w", err)
	}
	return m, nil
}

// Events returns all changes so far, of all devices of the host. It does not
// wait: the kernel has said what a request changed before it answers that.
func (m *FDBMonitor) Events() ([]FDBEntry, error) {
	conn, err := m.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 1<<16)
	for {
		n := 0
		controlErr := conn.Control(func(fd uintptr) { n, _, err = unix.Recvfrom(int(fd), buf, 0) })
		switch err = errors.Join(controlErr, err); {
		case errors.Is(err, unix.EAGAIN):
			return m.seen, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return m.seen, fmt.Errorf("reading FDB changes: %w", err)
		}
		if err := m.parse(buf[:n]); err != nil {
			return m.seen, err
		}
	}
}

func (m *FDBMonitor) parse(b []byte) error {
	messages, err := syscall.ParseNetlinkMessage(b)
	for _, msg := range messages {
		if e, index, ok := m.host.parseFDBEntry(msg.Data); ok {
			if name, known := m.names[index]; known {
				e.Dev = name
			}
			e.Deleted = msg.Header.Type == unix.RTM_DELNEIGH
			m.seen = append(m.seen, e)
		}
	}
	return err
}

// Close stops listening.
func (m *FDBMonitor) Close() error { return m.file.Close() }
