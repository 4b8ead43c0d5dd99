package underlay

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Membership is one link's membership of a multicast group on one device.
//
// A socket of its own carries it. A socket may join only so many groups
// (net.ipv4.igmp_max_memberships, 20), and the kernel counts the members of a
// group on a device, so links that share one need no bookkeeping: the first
// join is reported on the wire (IGMP, MLD) and the last leave is.
//
// It is a port's receiving socket that gets the datagrams. It is bound to all
// addresses, and such sockets are handed what comes for any group that the
// host has joined on the device: IP_MULTICAST_ALL (Linux 2.6.31) and
// IPV6_MULTICAST_ALL (4.20) are on unless somebody switches them off, and
// before there was such an option it was always so.
type Membership struct {
	group   netip.Addr
	device  net.Interface
	conn    *net.UDPConn
	members groupConn

	mu     sync.Mutex
	joined bool
}

// groupConn is what an ipv4.PacketConn and an ipv6.PacketConn have in common.
type groupConn interface {
	JoinGroup(device *net.Interface, group net.Addr) error
	LeaveGroup(device *net.Interface, group net.Addr) error
	SetBPF(filter []bpf.RawInstruction) error
}

// OpenMembership opens the socket, in the network namespace of the calling
// thread. It joins nothing yet. The device must be named: with ifIndex 0 the
// system would choose one by its routes.
func OpenMembership(group netip.Addr, ifIndex int) (*Membership, error) {
	if !group.IsMulticast() {
		return nil, fmt.Errorf("group %v is not a multicast address; those are 224.0.0.0/4 and ff00::/8", group)
	}
	if ifIndex == 0 {
		return nil, fmt.Errorf("group %v: no device to join it on", group)
	}
	m := &Membership{group: group, device: net.Interface{Index: ifIndex}}
	if err := m.open(); err != nil {
		return nil, fmt.Errorf("open a socket to join group %v: %w", group, err)
	}
	return m, nil
}

func (m *Membership) open() (err error) {
	if m.group.Is4() {
		m.conn, err = net.ListenUDP("udp4", nil)
		m.members = ipv4.NewPacketConn(m.conn)
	} else {
		m.conn, err = net.ListenUDP("udp6", nil)
		m.members = ipv6.NewPacketConn(m.conn)
	}
	if err != nil {
		return err
	}
	m.takeNothing()
	return nil
}

// address is the group in the form that golang.org/x/net wants.
func (m *Membership) address() net.Addr { return &net.UDPAddr{IP: m.group.AsSlice()} }

// takeNothing has what comes to the socket's port dropped before it takes
// memory. Only Linux has filters; elsewhere little fits in.
func (m *Membership) takeNothing() {
	if nothing, err := (bpf.RetConstant{Val: 0}).Assemble(); err == nil {
		_ = m.members.SetBPF([]bpf.RawInstruction{nothing})
	}
	_ = m.conn.SetReadBuffer(1) // the least there is
}

// Join makes the host a member. It may be called from any goroutine, and again.
func (m *Membership) Join() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.joined {
		return nil
	}
	if err := m.members.JoinGroup(&m.device, m.address()); err != nil {
		return m.failed("join", err)
	}
	m.joined = true
	return nil
}

// Leave ends the membership. It may be called from any goroutine, and again. A
// device that is gone has been left.
func (m *Membership) Leave() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.joined {
		return nil
	}
	if err := m.members.LeaveGroup(&m.device, m.address()); err != nil {
		return m.failed("leave", err)
	}
	m.joined = false
	return nil
}

func (m *Membership) failed(what string, err error) error {
	return fmt.Errorf("%s group %v on device %d: %w", what, m.group, m.device.Index, err)
}

// Close leaves, and closes the socket.
func (m *Membership) Close() error { return m.conn.Close() }
