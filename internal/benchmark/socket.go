//go:build linux

package benchmark

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pairOfSockets are two UDP sockets, one at each end of a way, connected to
// each other. They block, and are used without Go's poller: what is measured
// should be the way.
type pairOfSockets struct {
	from, to int
	others   []unix.RawSockaddrInet4 // to send to in turn; the sockets are not connected then
}

// receiveBuffer is what a receiving end asks for, so that what is lost was
// lost on the way. In a user namespace it gets less.
const receiveBuffer = 16 << 20

func connectUDP(w *Way) (pairOfSockets, error) {
	p := pairOfSockets{from: -1, to: -1}
	var fromAddr, toAddr netip.AddrPort
	var err error
	if p.from, fromAddr, err = bindUDP(w.From); err == nil {
		p.to, toAddr, err = bindUDP(w.To)
	}
	for _, station := range w.To.stations {
		p.others = append(p.others, rawSockaddr(netip.AddrPortFrom(station, toAddr.Port())))
	}
	if err == nil && p.others == nil {
		err = errors.Join(unix.Connect(p.from, sockaddr(toAddr)), unix.Connect(p.to, sockaddr(fromAddr)))
	}
	if err != nil {
		p.close()
		return p, fmt.Errorf("connecting UDP sockets: %w", err)
	}
	return p, nil
}

func (p pairOfSockets) close() {
	for _, fd := range []int{p.from, p.to} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// bindUDP opens a socket in a host, bound to its address on the way, or to all if
// it has many.
func bindUDP(e End) (fd int, bound netip.AddrPort, err error) {
	err = e.Host.Do(func() error {
		family := unix.AF_INET
		if e.Addr.Is6() {
			family = unix.AF_INET6
		}
		if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			fd = -1
			return err
		}
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
		at := e.Addr
		if e.stations != nil {
			at = netip.IPv4Unspecified()
		}
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(at, 0))); err != nil {
			return err
		}
		name, err := unix.Getsockname(fd)
		bound = netip.AddrPortFrom(e.Addr, portOf(name))
		return err
	})
	return fd, bound, err
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// rawSockaddr is an IPv4 one as the kernel takes it.
func rawSockaddr(a netip.AddrPort) unix.RawSockaddrInet4 {
	raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&raw.Port))[:], a.Port())
	return raw
}

func portOf(name unix.Sockaddr) uint16 {
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return uint16(name.Port)
	case *unix.SockaddrInet6:
		return uint16(name.Port)
	}
	return 0
}

// setWait bounds how long a receive on a socket blocks.
func setWait(fd int, limit time.Duration) error {
	tv := unix.NsecToTimeval(limit.Nanoseconds())
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
}
