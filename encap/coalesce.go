package encap

import (
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
	latest int // 1 + index of what the frame before became part of, if that may grow; else 0

	// Frames are counted over all batches, so that flows are forgotten by
	// looking at newer numbers only: frames[0] has number first+1, and what open
	// says, flow hash → number of the frame that may still grow, counts if it
	// is more than forgotten.
	open             [flowSlots]uint64
	first, forgotten uint64
}

const (
	flowSlots      = 256
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
	c.first += uint64(len(c.frames))
	c.frames = c.frames[:0]
	c.forgetFlows()
}

// Add takes a frame with its layout and description. It joins the frame to an
// earlier one where that is allowed, and otherwise queues it behind all others.
// Frames of one flow stay in order.
func (c *Coalescer) Add(p *Packet, l *Layout) {
	if l.Fragment || l.L4 == 0 {
		c.push(p, l)
		c.latest = 0
		// Its flow cannot be told, so nothing may grow past it.
		if l.Version != 0 {
			c.forgetFlows()
		}
		return
	}
	slot := &c.open[FlowHash(p.Frame, l)%flowSlots]
	candidate := c.mayJoin(p, l)
	if at := int(*slot - c.first); candidate && *slot > c.forgotten {
		if f := &c.frames[at-1]; f.precedes(p.Frame, l) {
			f.join(p.Frame, l)
			c.latest = at
			return
		}
	}
	c.push(p, l)
	if *slot, c.latest = 0, 0; candidate && !c.last().closed {
		c.latest = len(c.frames)
		*slot = c.first + uint64(c.latest)
	}
}

// Extend does as Add does, if the frame is the next segment of the flow that
// the frame before belongs to and can be joined to that one. Otherwise it does
// nothing and returns false. It takes less time, because headers that are the
// same need not be looked at again.
func (c *Coalescer) Extend(frame []byte) bool {
	if c.latest == 0 {
		return false
	}
	f := &c.frames[c.latest-1]
	l := f.layout
	l.End = len(frame)
	if !f.precedes(frame, &l) || !c.mayJoin(&Packet{Frame: frame}, &l) {
		return false
	}
	f.join(frame, &l)
	return true
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

func (c *Coalescer) forgetFlows() {
	c.forgotten = c.first + uint64(len(c.frames))
	c.latest = 0
}

func (c *Coalescer) last() *Coalesced { return &c.frames[len(c.frames)-1] }

// push queues a frame; the Tail of an earlier use of the slot is used again.
func (c *Coalescer) push(p *Packet, l *Layout) {
	if len(c.frames) < cap(c.frames) {
		c.frames = c.frames[:len(c.frames)+1]
	} else {
		c.frames = append(c.frames, Coalesced{})
	}
	f := c.last()
	f.Packet, f.Tail = *p, f.Tail[:0]
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
	if !wanted || p.GSO.Type != GSONone || l.End == l.Payload || l.End != len(p.Frame) || !l.innerIs(p.Frame) {
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

// precedes reports whether the frame, which may be joined and has layout l, is
// the next segment of f's flow, and there is room for it.
func (f *Coalesced) precedes(frame []byte, l *Layout) bool {
	size := l.End - l.Payload
	if f.closed || size > f.size || f.length+size > maxSuperFrame || len(frame) < f.layout.Payload {
		return false
	}
	return f.sameHeaders(frame) && f.nextInFlow(frame, l) && (l.Version == 6 || f.nextID(frame, l))
}

// join appends the payload of a frame that f precedes.
func (f *Coalesced) join(frame []byte, l *Layout) {
	size := l.End - l.Payload
	f.Tail = append(f.Tail, frame[l.Payload:l.End:l.End])
	f.length += size
	f.closed = size < f.size
	if l.Version == 4 {
		f.lastID = binary.BigEndian.Uint16(frame[l.L3+4:])
	}
	if l.Proto == protoTCP && frame[l.L4+13]&tcpPSH != 0 {
		f.Frame[l.L4+13] |= tcpPSH
		f.closed = true
	}
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
	return frame[l.L3+6]&0x40 != 0 || id == f.lastID+1
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
