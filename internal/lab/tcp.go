//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// congestion is what every TCP figure is measured under. Namespaces inherit
// the machine's choice otherwise, and BBR's pacing hides what a path costs.
const congestion = "cubic"

// stallLimit is how long a transfer may make no progress before it fails.
const stallLimit = 10 * time.Second

// stream is one TCP connection between two hosts, held at both ends.
type stream struct{ client, server *net.TCPConn }

func (s stream) close() {
	_ = s.client.Close()
	_ = s.server.Close()
}

// connect opens n connections from one host to an address of another; port 0
// takes any.
func connect(from, to *Host, addr netip.AddrPort, n int) ([]stream, error) {
	l, err := listen(to, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	var streams []stream
	for range n {
		s, err := dial(from, l)
		if err != nil {
			closeAll(streams)
			return nil, fmt.Errorf("connecting to %v: %w", l.Addr(), err)
		}
		streams = append(streams, s)
	}
	return streams, nil
}

func closeAll(streams []stream) {
	for _, s := range streams {
		s.close()
	}
}

func listen(h *Host, addr netip.AddrPort) (*net.TCPListener, error) {
	lc := net.ListenConfig{Control: onSocket(setCongestion)}
	lc.SetMultipathTCP(false)
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = lc.Listen(context.Background(), "tcp", addr.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// dial makes one connection to l and accepts it there.
func dial(from *Host, l *net.TCPListener) (stream, error) {
	d := net.Dialer{Timeout: stallLimit, Control: onSocket(setCongestion)}
	var client net.Conn
	err := from.Do(func() (err error) {
		client, err = d.Dial("tcp", l.Addr().String())
		return err
	})
	if err != nil {
		return stream{}, err
	}
	err = l.SetDeadline(time.Now().Add(stallLimit))
	server, e := l.AcceptTCP()
	if err = errors.Join(err, e); err != nil {
		_ = client.Close()
		return stream{}, err
	}
	return stream{client.(*net.TCPConn), server}, nil
}

// setCongestion is best effort: not every kernel has cubic.
func setCongestion(fd int) error {
	_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestion)
	return nil
}

// Congestion is the congestion control that the host's connections have: cubic
// where the kernel has it and permits it.
func (h *Host) Congestion() (string, error) {
	l, err := listen(h, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	conn, err := l.SyscallConn()
	if err != nil {
		return "", err
	}
	var name string
	control := conn.Control(func(fd uintptr) {
		name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	})
	return strings.TrimRight(name, "\x00"), errors.Join(control, err)
}
