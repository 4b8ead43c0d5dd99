// Package underlay is the UDP side of the dataplane: the sockets that VXLAN
// datagrams arrive on and leave by, in batches, with the kernel's segmentation
// (UDP_SEGMENT) and coalescing (UDP_GRO) where it has them.
//
// Words used here: a datagram is one VXLAN packet as the peer sees it; a
// message is what one entry of sendmmsg or recvmmsg carries, one datagram or a
// run of them of equal size; a piece is a part of a message's memory.
package underlay

import (
	"net/netip"
)

// Outer says what the headers around a datagram look like, less what the
// socket fixes (source port). Datagrams can share a message only if their
// Outers are equal.
type Outer struct {
	Remote    netip.AddrPort // a host or a multicast group; its family is that of the socket
	Local     netip.Addr     // source; the zero Addr leaves it to the route
	IfIndex   int            // device to leave by; 0 leaves it to the route, which a group may not have
	TTL       uint8          // 0 leaves it to the route (64), and is 1 to a group
	TOS       uint8          // DSCP and ECN bits
	DF        bool           // IPv4 only: must not be fragmented
	NoCsum    bool           // UDP checksum zero
	FlowLabel uint32         // IPv6 only
}

// Account is told what became of datagrams: they were handed to the kernel, or
// they were not, and why (a syscall.Errno or an error around one). frames and
// bytes are those that the sender was given with them.
type Account interface {
	Sent(frames, bytes int)
	Dropped(frames int, to netip.Addr, why error)
}

// Flow is what datagrams are sent with.
type Flow struct {
	Outer
	Socket  *Socket
	Account Account
	Single  bool // never use UDP_SEGMENT
	Bare    bool // segments of super-frames get no VXLAN header
}

// Datagram is what one receive call entry delivered.
type Datagram struct {
	Data    []byte     // borrowed until the next Receive
	Segment int        // the kernel's UDP_GRO value in bytes, 0 if it gave none
	TOS     uint8      // outer
	From    netip.Addr // outer source, without zone
	IfIndex int        // device that it came in by, where From is an IPv6 link-local address; else 0

	// Only after TellDestination.
	To     netip.Addr // outer destination, without zone
	Device int        // index of the device that it came in by
}

// Memory is what the kernel holds for a receiving socket, a moment ago at most.
type Memory struct {
	Charged uint32 // bytes, for datagrams that are in its queue
	Limit   uint32 // of them
	Dropped uint32 // datagrams, because there was no room or their checksum was wrong
}
