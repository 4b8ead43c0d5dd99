//go:build !linux || portable

package underlay

import (
	"net"

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
	tos, ttl       int
	routeTTL       int // what the system uses by itself
	setTOS, setTTL func(int) error

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
func open(v6 bool, port uint16) (*Socket, error) {
	network := "udp4"
	if v6 {
		network = "udp6" // IPv6 only: it leaves the port free for IPv4
	}
	conn, err := net.ListenUDP(network, &net.UDPAddr{Port: int(port)})
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

func (s *Socket) wrap() (err error) {
	if s.ipv6 {
		c := ipv6.NewPacketConn(s.conn)
		s.batch, s.setTOS, s.setTTL = c, c.SetTrafficClass, c.SetHopLimit
		s.routeTTL, err = c.HopLimit()
	} else {
		c := ipv4.NewPacketConn(s.conn)
		s.batch, s.setTOS, s.setTTL = c, c.SetTOS, c.SetTTL
		s.routeTTL, err = c.TTL()
	}
	s.ttl = s.routeTTL
	if !hasBatches {
		s.batch = &oneByOne{conn: s.conn}
	}
	return err
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
	ttl := int(o.TTL)
	if ttl == 0 {
		ttl = s.routeTTL
	}
	if ttl != s.ttl {
		if err := s.setTTL(ttl); err != nil {
			return err
		}
		s.ttl = ttl
	}
	return nil
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
