//go:build !portable

package underlay

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Socket is a UDP socket of one family and one local port, mostly on any
// address.
type Socket struct {
	fd   int
	port uint16
	ipv6 bool

	// Socket options as last set: a message has no way to ask for these.
	df, noCsum bool

	// The socket's queue inside the Sender, -1 if empty.
	firstMessage, lastMessage int32
}

// open makes a non-blocking socket bound to port on every address of the
// family. It fails with the errno of bind if the port is taken.
func open(ipv6 bool, port uint16) (*Socket, error) { return openAt(ipv6, netip.Addr{}, port) }

// openAt does so on one address of the host, if local is valid.
func openAt(ipv6 bool, local netip.Addr, port uint16) (*Socket, error) {
	family := unix.AF_INET
	if ipv6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket: %w", err)
	}
	s := &Socket{fd: fd, port: port, ipv6: ipv6, firstMessage: -1, lastMessage: -1}
	if err := s.bind(local); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) bind(local netip.Addr) error {
	if s.ipv6 {
		if err := s.configure(unix.IPPROTO_IPV6, options6); err != nil {
			return err
		}
		if !local.IsValid() {
			local = netip.IPv6Unspecified()
		}
		return unix.Bind(s.fd, &unix.SockaddrInet6{Port: int(s.port), Addr: local.As16()})
	}
	if err := s.configure(unix.IPPROTO_IP, options4); err != nil {
		return err
	}
	if !local.IsValid() {
		local = netip.IPv4Unspecified()
	}
	return unix.Bind(s.fd, &unix.SockaddrInet4{Port: int(s.port), Addr: local.As4()})
}

type socketOption struct {
	name          string
	option, value int
}

// options4 make an IPv4 socket behave as the kernel's vxlan device does: DF
// clear and no path MTU discovery of the socket's own, and what is sent to a
// group is not for this host, a member or not.
var options4 = []socketOption{
	{"IP_MTU_DISCOVER", unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT},
	{"IP_MULTICAST_LOOP", unix.IP_MULTICAST_LOOP, 0},
}

// options6 do so for IPv6: beside an IPv4 socket on the same port, never
// fragmenting, with flow label 0 unless a message says otherwise, with groups
// as above, and from any source address: unlike over IPv4, the kernel's device
// sends from one that the host has not, or not yet (tentative).
var options6 = []socketOption{
	{"IPV6_V6ONLY", unix.IPV6_V6ONLY, 1},
	{"IPV6_DONTFRAG", unix.IPV6_DONTFRAG, 1},
	{"IPV6_AUTOFLOWLABEL", unix.IPV6_AUTOFLOWLABEL, 0},
	{"IPV6_FLOWINFO_SEND", ipv6FlowinfoSend, 1},
	{"IPV6_FREEBIND", unix.IPV6_FREEBIND, 1}, // since Linux 4.15
	{"IPV6_MULTICAST_LOOP", unix.IPV6_MULTICAST_LOOP, 0},
}

func (s *Socket) configure(level int, options []socketOption) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(s.fd, level, o.option, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return nil
}

// setOptions prepares the socket for messages with these wishes. Sending is
// synchronous, so what was sent before is not affected.
func (s *Socket) setOptions(df, noCsum bool) error {
	if df != s.df && !s.ipv6 {
		mode := unix.IP_PMTUDISC_DONT
		if df {
			mode = unix.IP_PMTUDISC_DO
		}
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, mode); err != nil {
			return err
		}
		s.df = df
	}
	if noCsum != s.noCsum {
		level, option := unix.SOL_SOCKET, unix.SO_NO_CHECK
		if s.ipv6 {
			level, option = unix.SOL_UDP, unix.UDP_NO_CHECK6_TX
		}
		if err := unix.SetsockoptInt(s.fd, level, option, b2i(noCsum)); err != nil {
			return err
		}
		s.noCsum = noCsum
	}
	return nil
}

// ipv6FlowinfoSend makes the flow label of a destination address count
// (linux/in6.h; x/sys does not name it).
const ipv6FlowinfoSend = 33

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// FD returns the descriptor for polling.
func (s *Socket) FD() int { return s.fd }

// Close frees the port.
func (s *Socket) Close() error { return unix.Close(s.fd) }
