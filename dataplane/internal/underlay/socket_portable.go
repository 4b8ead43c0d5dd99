//go:build !linux || portable

package underlay

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Socket is a UDP socket of one family and one local port, on any address.
//
// Package net opens it and golang.org/x/net moves its datagrams, so it does
// what the system does by default where those two have no word for it: DF and
// path MTU discovery, the IPv6 flow label, UDP checksums.
type Socket struct {
	conn  *net.UDPConn
	batch batchConn
	port  uint16
	ipv6  bool

	// Socket options as last set: a message has no way to ask for these.
	tos                         int
	ttl                         uint8
	routeTTL                    int // what the system uses by itself, to hosts
	setTOS, setTTL, setGroupTTL func(int) error

	// The socket's queue inside the Sender, -1 if empty.
	firstMessage, lastMessage int32
}

// batchConn is what an ipv4.PacketConn and an ipv6.PacketConn have in common.
// Both methods move one message at least and return how many they did; on
// systems other than Linux that is one.
type batchConn interface {
	ReadBatch(messages []ipv4.Message, flags int) (int, error)
	WriteBatch(messages []ipv4.Message, flags int) (int, error)
}

// open makes a socket bound to port on every address of the family. The error
// wraps syscall.EADDRINUSE if the port is taken.
func open(v6 bool, port uint16) (*Socket, error) { return openAt(v6, netip.Addr{}, port) }

// openAt does so on one address of the host, if local is valid.
func openAt(v6 bool, local netip.Addr, port uint16) (*Socket, error) {
	network := "udp4"
	if v6 {
		network = "udp6" // IPv6 only: it leaves the port free for IPv4
	}
	conn, err := net.ListenUDP(network, &net.UDPAddr{IP: local.AsSlice(), Port: int(port)})
	if err != nil {
		return nil, posixError(err)
	}
	s := &Socket{conn: conn, port: port, ipv6: v6, firstMessage: -1, lastMessage: -1}
	if err := s.wrap(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) wrap() error {
	if s.ipv6 {
		return s.wrap6()
	}
	c := ipv4.NewPacketConn(s.conn)
	s.batch, s.setTOS, s.setTTL, s.setGroupTTL = batches(c, s.conn), c.SetTOS, c.SetTTL, c.SetMulticastTTL
	ttl, err := c.TTL()
	s.routeTTL = ttl
	// What is sent to a group is not for this host, a member or not.
	return errors.Join(err, c.SetMulticastLoopback(false))
}

func (s *Socket) wrap6() error {
	c := ipv6.NewPacketConn(s.conn)
	s.batch, s.setTOS, s.setTTL, s.setGroupTTL = batches(c, s.conn), c.SetTrafficClass, c.SetHopLimit, c.SetMulticastHopLimit
	ttl, err := c.HopLimit()
	s.routeTTL = ttl
	return errors.Join(err, c.SetMulticastLoopback(false))
}

// batches returns what moves the datagrams of a connection.
func batches(c batchConn, conn *net.UDPConn) batchConn {
	if hasBatches {
		return c
	}
	return &oneByOne{conn: conn}
}

// setOptions prepares the socket for messages with this Outer. Sending is
// synchronous, so what was sent before is not affected.
func (s *Socket) setOptions(o *Outer) error {
	if tos := int(o.TOS); tos != s.tos {
		// Where the system refuses (Windows over IPv6), the underlay sees
		// Not-ECT: it then drops what it would have marked (RFC 6040 §4.3).
		_ = s.setTOS(tos)
		s.tos = tos
	}
	if o.TTL != s.ttl {
		if err := s.setTTLs(int(o.TTL)); err != nil {
			return err
		}
		s.ttl = o.TTL
	}
	return nil
}

// setTTLs sets the TTL for hosts and for groups; 0 leaves both to the system,
// which has packets to groups stay on the wire (RFC 1112 §6.1).
func (s *Socket) setTTLs(ttl int) error {
	if ttl == 0 {
		return errors.Join(s.setTTL(s.routeTTL), s.setGroupTTL(1))
	}
	return errors.Join(s.setTTL(ttl), s.setGroupTTL(ttl))
}

// onlySend prepares a socket that nothing is read from: what arrives on its
// port must not take much memory.
func (s *Socket) onlySend() error {
	largest(s.conn.SetReadBuffer, unreadBuffer)
	largest(s.conn.SetWriteBuffer, sendBuffer)
	return nil
}

const (
	sendBuffer   = 4 << 20
	unreadBuffer = 2 << 10
)

// largest asks for n bytes of buffer, and for half of it as long as the system
// refuses. It returns what was accepted; Linux accepts more than it gives.
func largest(set func(bytes int) error, n int) int {
	for ; n > 0; n /= 2 {
		if set(n) == nil {
			return n
		}
	}
	return 0
}

// FD stands for the descriptor, which package net keeps to itself: it only
// tells this socket from other sources of packets.
func (s *Socket) FD() any { return s }

// Close frees the port and ends a Receive that waits.
func (s *Socket) Close() error { return s.conn.Close() }
