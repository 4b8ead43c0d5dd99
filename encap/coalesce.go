package encap

import (
	"bytes"
	"encoding/binary"
)

// A Coalescer joins the frames of one receive batch that are on their way to
// one device: consecutive segments of a flow become one super-frame, which
// the device takes with one write. It is the inverse of Segments and loses
// nothing: cutting what it made gives the frames it was fed, but for the IPv4
// identification of packets that must not be fragmented, which means nothing.
//
// It borrows every frame until Reset and may rewrite their headers.
type Coalescer struct {
	// TCP and UDP say which super-frames the device takes.
	TCP, UDP bool

	frames []Coalesced
	open   [flowSlots]int32 // flow hash → index+1 in frames of the one that may still grow
}

const (
	flowSlots      = 64
	maxSuperFrame  = 0xffff // IP total length, and what an IPv6 payload length can say
	maxUDPSegments = 64     // UDP_MAX_SEGMENTS before Linux 6.9 (1382e3b6a350)
	maxTCPSegments = 512    // keeps a write below the 1024 parts that writev takes
)

// Coalesced is a frame or super-frame ready for a device: Packet.Frame holds
// the headers and the first payload, Tail the payload of the rest in order.
type Coalesced struct {
	Packet
	Tail [][]byte

	layout Layout
	length int // bytes in Frame and Tail together
	size   int // payload bytes in the first segment
	lastID uint16
	closed bool
}

// Reset forgets all frames: their memory is the lender's again.
func (c *Coalescer) Reset() {
	c.frames = c.frames[:0]
	c.forgetFlows()
}

// Add takes a frame with its layout and description. It joins the frame to an
// earlier one where that is allowed, and otherwise queues it behind all others.
// Frames of one flow stay in order.
func (c *Coalescer) Add(p Packet, l *Layout) {
	if l.Fragment || l.L4 == 0 {
		// Its flow cannot be told, so nothing may grow past it.
		if l.Version != 0 {
			c.forgetFlows()
		}
		c.push(p, l)
		return
	}
	slot := &c.open[FlowHash(p.Frame, l)%flowSlots]
	candidate := c.mayJoin(&p, l)
	if candidate && *slot != 0 && c.frames[*slot-1].join(p.Frame, l) {
		return
	}
	c.push(p, l)
	if *slot = 0; candidate && !c.last().closed {
		*slot = int32(len(c.frames))
	}
}

// Frames returns what has been added, super-frames completed. The result and
// the frames in it are valid until Reset or the next Add.
func (c *Coalescer) Frames() []Coalesced {
	for i := range c.frames {
		if f := &c.frames[i]; len(f.Tail) > 0 {
			f.finish()
		}
	}
	return c.frames
}

// Arrived returns how many frames were joined and how many bytes they had.
func (f *Coalesced) Arrived() (frames, bytes int) {
	return 1 + len(f.Tail), f.length + len(f.Tail)*f.layout.Payload
}

func (c *Coalescer) forgetFlows() { c.open = [flowSlots]int32{} }

func (c *Coalescer) last() *Coalesced { return &c.frames[len(c.frames)-1] }

// push queues a frame; the Tail of an earlier use of the slot is used again.
func (c *Coalescer) push(p Packet, l *Layout) {
	if len(c.frames) < cap(c.frames) {
		c.frames = c.frames[:len(c.frames)+1]
	} else {
		c.frames = append(c.frames, Coalesced{})
	}
	f := c.last()
	f.Packet, f.Tail = p, f.Tail[:0]
	f.layout, f.length, f.size = *l, len(p.Frame), l.End-l.Payload
	if l.Version == 4 {
		f.lastID = binary.BigEndian.Uint16(p.Frame[l.L3+4:])
	}
	f.closed = l.Proto == protoTCP && l.L4 != 0 && p.Frame[l.L4+13]&tcpPSH != 0
}

// mayJoin reports whether a frame can be part of a super-frame at all. Its
// checksums must be right: the super-frame gets new ones, and a frame that was
// damaged on its way must not come out of it as good.
func (c *Coalescer) mayJoin(p *Packet, l *Layout) bool {
	wanted := l.Proto == protoTCP && c.TCP || l.Proto == protoUDP && c.UDP
	if !wanted || p.GSO.Type != GSONone || l.End != len(p.Frame) || l.End == l.Payload {
		return false
	}
	if l.Proto == protoTCP && p.Frame[l.L4+13]&^tcpPSH != tcpACK {
		return false
	}
	if l.Version == 4 {
		ip := p.Frame[l.L3:l.L4]
		if len(ip) != ipv4HeaderLen || sumIPv4(ip) != 0xffff {
			return false
		}
	} else if l.L4-l.L3 != ipv6HeaderLen {
		return false
	}
	if l.Proto == protoUDP && int(binary.BigEndian.Uint16(p.Frame[l.L4+4:])) != l.End-l.L4 {
		return false
	}
	if p.GSO.NeedsCsum {
		return true // verified to be partial when it was described
	}
	return verify(p.Frame, l) == csumValid
}

// join appends the frame's payload to f if it is the next segment of f's flow,
// and reports whether it did.
func (f *Coalesced) join(frame []byte, l *Layout) bool {
	size := l.End - l.Payload
	if f.closed || size > f.size || f.length+size > maxSuperFrame || !f.sameHeaders(frame, l) {
		return false
	}
	if !f.nextInFlow(frame, l) || l.Version == 4 && !f.nextID(frame, l) {
		return false
	}
	f.Tail = append(f.Tail, frame[l.Payload:l.End:l.End])
	f.length += size
	f.closed = size < f.size
	if l.Proto == protoTCP && frame[l.L4+13]&tcpPSH != 0 {
		f.Frame[l.L4+13] |= tcpPSH
		f.closed = true
	}
	return true
}

// nextInFlow checks that there is room for one more segment and that it is the
// one that follows.
func (f *Coalesced) nextInFlow(frame []byte, l *Layout) bool {
	if l.Proto == protoUDP {
		return len(f.Tail)+1 < maxUDPSegments
	}
	if len(f.Tail)+1 >= maxTCPSegments {
		return false
	}
	first := binary.BigEndian.Uint32(f.Frame[l.L4+4:])
	have := f.length - f.layout.Payload
	return binary.BigEndian.Uint32(frame[l.L4+4:]) == first+uint32(have)
}

// nextID allows any IPv4 identification in packets that must not be fragmented
// (it has no meaning there, RFC 6864 §4.1); in others it has to count up, as
// it will when the super-frame is cut again.
func (f *Coalesced) nextID(frame []byte, l *Layout) bool {
	id := binary.BigEndian.Uint16(frame[l.L3+4:])
	if frame[l.L3+6]&0x40 == 0 && id != f.lastID+1 {
		return false
	}
	f.lastID = id
	return true
}

// sameHeaders compares all that a super-frame has only once: everything in
// front of the payload but lengths, checksums, IPv4 identification, TCP
// sequence number and PSH. TTL, the whole TOS with its ECN bits, DF, the flow
// label, acknowledgement, window and TCP options have to be equal.
func (f *Coalesced) sameHeaders(frame []byte, l *Layout) bool {
	if *l != (Layout{
		EtherType: f.layout.EtherType, Tags: f.layout.Tags, Version: f.layout.Version,
		Proto: f.layout.Proto, L3: f.layout.L3, L4: f.layout.L4, Payload: f.layout.Payload, End: l.End,
	}) {
		return false
	}
	have := f.Frame
	same := func(from, to int) bool { return bytes.Equal(have[from:to], frame[from:to]) }
	if !same(0, l.L3) {
		return false
	}
	if l.Version == 4 {
		if !same(l.L3, l.L3+2) || !same(l.L3+6, l.L3+10) || !same(l.L3+12, l.L4) {
			return false
		}
	} else if !same(l.L3, l.L3+4) || !same(l.L3+6, l.L4) {
		return false
	}
	if !same(l.L4, l.L4+4) {
		return false
	}
	return l.Proto == protoUDP ||
		same(l.L4+8, l.L4+13) && same(l.L4+14, l.L4+16) && same(l.L4+18, l.Payload)
}

// finish turns the first frame's headers into those of the super-frame.
func (f *Coalesced) finish() {
	l := &f.layout
	ip, l4 := f.Frame[l.L3:], f.Frame[l.L4:]
	if l.Version == 4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(f.length-l.L3))
		putIPv4Checksum(ip)
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(f.length-l.L3-ipv6HeaderLen))
	}
	if l.Proto == protoUDP {
		binary.BigEndian.PutUint16(l4[4:], uint16(f.length-l.L4))
	}
	binary.BigEndian.PutUint16(l4[l.csumOffset():], pseudoHeader(f.Frame, l, f.length-l.L4))
	f.GSO = GSO{
		Type: superType(l), Size: uint16(f.size), NeedsCsum: true,
		CsumStart: uint16(l.L4), CsumOffset: uint16(l.csumOffset()), HeaderLen: uint16(l.Payload),
	}
}

func superType(l *Layout) GSOType {
	switch {
	case l.Proto == protoUDP:
		return GSOUDP
	case l.Version == 4:
		return GSOTCP4
	}
	return GSOTCP6
}
