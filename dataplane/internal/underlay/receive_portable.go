//go:build !linux || portable

package underlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/weftnet/weft/dataplane/internal/count"
)

const (
	// Every buffer holds the largest datagram: a sender on the same machine
	// leaves its super-frames whole.
	receiveSize = 64 << 10
	// maxReceive bounds how many messages one call returns.
	maxReceive = 16
)

// Receiver is the socket that a port's datagrams arrive on, with the buffers
// for a batch of them.
//
// x/net tells the traffic class of IPv6 datagrams but not the TOS of IPv4 ones,
// so the underlay's congestion marks are not seen over IPv4: Datagram.TOS is 0.
type Receiver struct {
	*Socket
	Calls count.Counter // of ReadBatch
	GRO   count.Counter // stays 0

	messages [maxReceive]ipv4.Message // ipv6.Message is the same type
	out      [maxReceive]Datagram
}

// Listen holds a UDP port on all addresses of a family. The error wraps
// syscall.EADDRINUSE if somebody else has it.
func Listen(v6 bool, port uint16) (*Receiver, error) { return ListenAt(v6, netip.Addr{}, port) }

// ListenAt does so on one address of the host, if local is valid.
func ListenAt(v6 bool, local netip.Addr, port uint16) (*Receiver, error) {
	s, err := openAt(v6, local, port)
	if err != nil {
		return nil, err
	}
	r := &Receiver{Socket: s}
	r.layOut()
	if v6 && hasBatches {
		if err := ipv6.NewPacketConn(s.conn).SetControlMessage(ipv6.FlagTrafficClass, true); err != nil {
			s.Close()
			return nil, fmt.Errorf("ask for the traffic class of datagrams: %w", err)
		}
	}
	largest(s.conn.SetWriteBuffer, sendBuffer)
	return r, nil
}

func (r *Receiver) layOut() {
	buffers := make([]byte, maxReceive*receiveSize)
	for i := range r.messages {
		m := &r.messages[i]
		m.Buffers = [][]byte{buffers[i*receiveSize:][:receiveSize:receiveSize]}
		if r.ipv6 {
			m.OOB = ipv6.NewControlMessage(ipv6.FlagTrafficClass)
		}
	}
}

// Receive waits until something has arrived and returns it, at most 16
// messages. The result is valid until the next call.
func (r *Receiver) Receive() ([]Datagram, error) {
	r.Calls.Add(1)
	n, err := r.batch.ReadBatch(r.messages[:], 0)
	if err != nil {
		return nil, err
	}
	for i := range n {
		r.take(i)
	}
	return r.out[:n], nil
}

func (r *Receiver) take(i int) {
	m, d := &r.messages[i], &r.out[i]
	*d = Datagram{Data: m.Buffers[0][:m.N:m.N]}
	if from, ok := m.Addr.(*net.UDPAddr); ok {
		addr := from.AddrPort().Addr().Unmap()
		d.From, d.IfIndex = addr.WithZone(""), zoneIndex(addr.Zone())
	}
	var control ipv6.ControlMessage
	if r.ipv6 && control.Parse(m.OOB[:m.NN]) == nil {
		d.TOS = uint8(control.TrafficClass)
	}
}

// SetGRO says that UDP_GRO is not to be had.
func (r *Receiver) SetGRO(on bool) error {
	if !on {
		return nil
	}
	return fmt.Errorf("golang.org/x/net has no UDP_GRO: %w", errors.ErrUnsupported)
}

// AcceptZeroChecksum says that a UDP checksum of zero is the system's to judge.
func (r *Receiver) AcceptZeroChecksum(on bool) error {
	if !on {
		return nil
	}
	return fmt.Errorf("golang.org/x/net has no option for UDP checksums: %w", errors.ErrUnsupported)
}

// SetReceiveBuffer asks for a receive buffer of n bytes, or what can be had of
// that, and returns what the system accepted.
func (r *Receiver) SetReceiveBuffer(n int) int { return largest(r.conn.SetReadBuffer, n) }

// zoneIndex returns the number of the device that a zone names; "" has none.
func zoneIndex(zone string) int {
	if zone == "" {
		return 0
	}
	if dev, err := net.InterfaceByName(zone); err == nil {
		return dev.Index
	}
	return 0
}

// Emptied reports nothing: the system does not say.
func (r *Receiver) Emptied() bool { return false }

// Memory is not known.
func (r *Receiver) Memory() (Memory, error) { return Memory{}, errors.ErrUnsupported }

// TellDestination has nothing to ask of package net.
func (r *Receiver) TellDestination() error { return errors.ErrUnsupported }
