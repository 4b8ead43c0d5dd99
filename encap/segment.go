package encap

import (
	"encoding/binary"
	"errors"
)

// ErrGSO says that a super-frame's description does not fit its headers.
var ErrGSO = errors.New("encap: super-frame description does not fit the frame's headers")

// MaxInnerHeader is the most that the headers in front of a segment's payload
// can take: Ethernet with two tags, IPv6 with extension headers up to the
// longest that a socket option allows in practice, TCP with all options.
const MaxInnerHeader = 256

// Segments are the frames that a super-frame stands for. It borrows the
// super-frame's memory: payload is never copied, headers are written anew for
// each segment into memory of the caller's.
type Segments struct {
	frame   []byte
	layout  Layout
	size    int    // payload bytes in each segment but the last
	count   int    // segments
	id      uint16 // of the first segment's IPv4 header
	seq     uint32 // of the first segment's TCP header
	flags   byte   // of the super-frame's TCP header
	addrSum uint16 // addresses and protocol: the pseudo-header less its length
}

// TCP flag bits that change from segment to segment (RFC 9293 §3.1, RFC 3168).
const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpACK = 0x10
	tcpCWR = 0x80
)

// CutSuperFrame prepares the super-frame p with layout l for being cut.
// GSO.HeaderLen is a hint that the kernel gets wrong on forwarded packets, so
// the layout counts. It returns ErrGSO if that does not match p.GSO.
func CutSuperFrame(p *Packet, l *Layout) (Segments, error) {
	s := Segments{frame: p.Frame, layout: *l, size: int(p.GSO.Size)}
	if !p.GSO.fits(l) || l.Payload > MaxInnerHeader {
		return Segments{}, ErrGSO
	}
	payload := l.End - l.Payload
	s.count = max(1, (payload+s.size-1)/s.size)
	s.addrSum = partialSum(p, l)
	if l.Version == 4 {
		s.id = binary.BigEndian.Uint16(p.Frame[l.L3+4:])
	}
	if l.Proto == protoTCP {
		s.seq = binary.BigEndian.Uint32(p.Frame[l.L4+4:])
		s.flags = p.Frame[l.L4+13]
	}
	return s, nil
}

// partialSum returns the sum of the pseudo-header's addresses and protocol. The
// checksum field has it, with the length: where an IPv6 routing header names
// the destination, only the sender knew which address counts (RFC 8200 §8.1).
func partialSum(p *Packet, l *Layout) uint16 {
	if !p.GSO.NeedsCsum {
		return pseudoHeader(p.Frame, l, 0)
	}
	field := binary.BigEndian.Uint16(p.Frame[l.L4+l.csumOffset():])
	return fold(uint64(field) + uint64(^fold(uint64(l.End-l.L4))))
}

// fits reports whether the headers at l are those that the GSO type is for.
func (g *GSO) fits(l *Layout) bool {
	if g.Size == 0 || l.L4 == 0 || int(g.CsumStart) != l.L4 {
		return false
	}
	switch g.Type {
	case GSOTCP4:
		return l.Version == 4 && l.Proto == protoTCP
	case GSOTCP6:
		return l.Version == 6 && l.Proto == protoTCP
	case GSOUDP:
		return l.Proto == protoUDP
	}
	return false
}

// Count returns how many segments there are, at least 1.
func (s *Segments) Count() int { return s.count }

// HeaderLen returns how many bytes of header each segment has.
func (s *Segments) HeaderLen() int { return s.layout.Payload }

// Put writes the headers of segment i, complete with all checksums, into
// header, which has at least HeaderLen bytes, and returns the segment's
// payload: a part of the super-frame's memory, not to be written to.
func (s *Segments) Put(i int, header []byte) (payload []byte) {
	l := &s.layout
	from := l.Payload + i*s.size
	to := min(from+s.size, l.End)
	payload = s.frame[from:to:to]
	header = header[:l.Payload]
	copy(header, s.frame)
	s.putIP(i, header, len(payload))
	if l.Proto == protoTCP {
		s.putTCP(i, header[l.L4:], payload)
	} else {
		s.putUDP(header[l.L4:], payload)
	}
	return payload
}

func (s *Segments) putIP(i int, header []byte, payload int) {
	l := &s.layout
	ip := header[l.L3:]
	length := len(ip) + payload
	if l.Version == 6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(length-ipv6HeaderLen))
		return
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(length))
	binary.BigEndian.PutUint16(ip[4:], s.id+uint16(i))
	putIPv4Checksum(ip)
}

func (s *Segments) putTCP(i int, tcp, payload []byte) {
	flags := s.flags
	if i > 0 {
		flags &^= tcpCWR // told once (RFC 3168 §6.1.2)
	}
	if i < s.count-1 {
		flags &^= tcpFIN | tcpPSH // belong to the last byte
	}
	tcp[13] = flags
	binary.BigEndian.PutUint32(tcp[4:], s.seq+uint32(i*s.size))
	binary.BigEndian.PutUint16(tcp[16:], s.sum(tcp, payload, 16))
}

func (s *Segments) putUDP(udp, payload []byte) {
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)+len(payload)))
	sum := s.sum(udp, payload, 6)
	if sum == 0 {
		sum = 0xffff // zero means that there is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
}

// sum returns the checksum of an upper-layer header, whose own checksum is at
// field, and its payload. Headers are of even length, so the two can be summed
// one after the other.
func (s *Segments) sum(header, payload []byte, field int) uint16 {
	header[field], header[field+1] = 0, 0
	seed := fold(uint64(s.addrSum) + uint64(len(header)+len(payload)))
	return ^Checksum(payload, Checksum(header, seed))
}
