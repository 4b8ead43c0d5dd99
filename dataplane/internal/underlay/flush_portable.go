//go:build !linux || portable

package underlay

import (
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// maxSegments is how many datagrams one message can have: x/net has no way to
// ask for UDP_SEGMENT.
const maxSegments = 1

// syscalls holds what a batch is written from.
type syscalls struct {
	batch   [maxMessages]ipv4.Message // ipv6.Message is the same type
	queued  [maxMessages]*message
	buffers [][]byte
}

func (y *syscalls) init() { y.buffers = make([][]byte, 0, maxParts) }

// add appends a stretch of memory to the message that is being prepared.
func (y *syscalls) add(part []byte) { y.buffers = append(y.buffers, part) }

// sendFrom sends the messages of one socket, in order, in one batch for each
// stretch of them that wants the same socket options.
func (s *Sender) sendFrom(socket *Socket) {
	at := socket.firstMessage
	for at >= 0 {
		m := &s.messages[at]
		if err := socket.setOptions(&m.flow.Outer); err != nil {
			m.dropped(err)
			at = m.next
			continue
		}
		n := 0
		s.sys.buffers = s.sys.buffers[:0]
		for ; at >= 0 && sameOptions(m, &s.messages[at]); at = s.messages[at].next {
			s.prepare(n, &s.messages[at], socket.ipv6)
			n++
		}
		s.sendPrepared(socket, n)
	}
}

func sameOptions(a, b *message) bool {
	return a.flow.TOS == b.flow.TOS && a.flow.TTL == b.flow.TTL
}

// prepare fills entry i of the batch.
func (s *Sender) prepare(i int, m *message, v6 bool) {
	y := &s.sys
	y.queued[i] = m
	first := len(y.buffers)
	for p := m.first; p >= 0; p = s.pieces[p].next {
		s.layOut(&s.pieces[p])
	}
	y.batch[i] = ipv4.Message{
		Buffers: y.buffers[first:],
		OOB:     control(&m.flow.Outer, v6),
		Addr:    net.UDPAddrFromAddrPort(m.flow.Remote),
	}
}

// control asks for a source address, an output device, or both.
func control(o *Outer, v6 bool) []byte {
	if v6 {
		return (&ipv6.ControlMessage{Src: o.Local.AsSlice(), IfIndex: o.IfIndex}).Marshal()
	}
	return (&ipv4.ControlMessage{Src: o.Local.AsSlice(), IfIndex: o.IfIndex}).Marshal()
}

// sendPrepared sends entries 0 to n-1. What the system refuses is accounted
// for, and the rest goes on behind it.
func (s *Sender) sendPrepared(socket *Socket, n int) {
	for i := 0; i < n; {
		s.Sends.Add(1)
		sent, err := socket.batch.WriteBatch(s.sys.batch[i:n], 0)
		if err != nil {
			s.sys.queued[i].dropped(posixError(err))
			i++
			continue
		}
		for _, m := range s.sys.queued[i : i+sent] {
			m.flow.Account.Sent(m.frames, m.frameBytes)
		}
		i += sent
	}
}

// dropped accounts for a message that was not sent. One that goes on with a
// super-frame has no frame of its own, and counts as one then.
func (m *message) dropped(why error) {
	m.flow.Account.Dropped(max(1, m.frames), m.flow.Remote.Addr(), why)
}
