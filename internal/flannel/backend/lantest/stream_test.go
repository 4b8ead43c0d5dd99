package lantest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// stream is numbered datagrams at a steady pace from one host to another.
type stream struct {
	t          *testing.T
	from, to   net.PacketConn
	stop, done chan struct{}
	sent       uint64
	got        atomic.Uint64
}

// pace is the time between two datagrams.
const pace = time.Millisecond

// startStream has got its first datagrams through when it returns.
func startStream(t *testing.T, from, to *machine, at netip.Addr) *stream {
	t.Helper()
	s := &stream{t: t, stop: make(chan struct{}), done: make(chan struct{})}
	check(t, to.Do(func() (err error) {
		s.to, err = net.ListenPacket("udp", netip.AddrPortFrom(at, 0).String())
		return err
	}))
	check(t, from.Do(func() (err error) {
		s.from, err = net.ListenPacket("udp", ":0")
		return err
	}))
	go s.receive()
	go s.send(s.to.LocalAddr())
	t.Cleanup(s.end)
	s.more(10)
	return s
}

// more waits until so many more have come through.
func (s *stream) more(n uint64) {
	s.t.Helper()
	n += s.got.Load()
	soon(s.t, func() error {
		if got := s.got.Load(); got < n {
			return fmt.Errorf("only %d come through to %v, of %d", got, s.to.LocalAddr(), n)
		}
		return nil
	})
}

func (s *stream) send(to net.Addr) {
	defer close(s.done)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		_, err := s.from.WriteTo(binary.BigEndian.AppendUint64(nil, s.sent), to)
		s.sent++ // also what could not be sent is lost
		if err != nil {
			s.t.Logf("datagram %d: %v", s.sent-1, err)
		}
	}
}

func (s *stream) receive() {
	buf := make([]byte, 64)
	for {
		n, _, err := s.to.ReadFrom(buf)
		if err != nil {
			return
		}
		if n == 8 {
			s.got.Add(1)
		}
	}
}

func (s *stream) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	<-s.done
	s.from.Close()
	s.to.Close()
}

// none ends the stream and fails the test if a datagram was lost.
func (s *stream) none() {
	s.t.Helper()
	close(s.stop)
	<-s.done
	soon(s.t, func() error {
		if lost := s.sent - s.got.Load(); lost != 0 {
			return fmt.Errorf("%d of %d datagrams were lost", lost, s.sent)
		}
		return nil
	})
}

// touches is what the kernel tells of changes to a device, its neighbours, FDB,
// addresses and routes.
type touches struct {
	t     *testing.T
	fd    int
	index uint32
}

func (m *machine) watchTouches(dev string) *touches {
	m.t.Helper()
	m.settle(dev)
	w := &touches{t: m.t, index: uint32(m.device(dev).Index)}
	check(m.t, m.Do(func() (err error) {
		if w.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE); err != nil {
			return err
		}
		var groups uint32
		for _, g := range []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
			groups |= 1 << (g - 1)
		}
		_ = unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		return unix.Bind(w.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	}))
	m.t.Cleanup(func() { _ = unix.Close(w.fd) })
	return w
}

// settle waits for what the kernel still does with the IPv6 addresses of a device: each
// gets its local route from a work queue, which is told of like any other.
func (m *machine) settle(dev string) {
	m.t.Helper()
	link, err := m.Netlink().LinkByName(dev)
	check(m.t, err)
	addrs, err := m.Netlink().AddrList(link, unix.AF_INET6)
	check(m.t, err)
	soon(m.t, func() error {
		for _, a := range addrs {
			local := &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Dst: &net.IPNet{IP: a.IP, Mask: net.CIDRMask(128, 128)}}
			found, err := m.Netlink().RouteListFiltered(unix.AF_INET6, local, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return fmt.Errorf("%v of %s has no local route", a.IP, dev)
			}
		}
		return nil
	})
}

// all returns what was told so far, one message a line.
func (w *touches) all() (lines []string) {
	w.t.Helper()
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(w.fd, buf)
		if err == unix.EAGAIN {
			return lines
		}
		check(w.t, err)
		kind, body := binary.NativeEndian.Uint16(buf[4:]), buf[unix.NLMSG_HDRLEN:n]
		if w.concerns(kind, body) {
			lines = append(lines, fmt.Sprintf("%d %x", kind, body))
		}
	}
}

func (w *touches) concerns(kind uint16, body []byte) bool {
	if kind != unix.RTM_NEWROUTE && kind != unix.RTM_DELROUTE {
		return binary.NativeEndian.Uint32(body[4:]) == w.index
	}
	attrs, err := nl.ParseRouteAttr(body[unix.SizeofRtMsg:])
	check(w.t, err)
	for _, a := range attrs {
		if a.Attr.Type == unix.RTA_OIF && binary.NativeEndian.Uint32(a.Value) == w.index {
			return true
		}
	}
	return false
}
