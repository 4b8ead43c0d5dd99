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
//
// Sums of what all segments' headers have in common are made once.
type Segments struct {
	frame  []byte
	layout Layout
	size   int    // payload bytes in each segment but the last
	count  int    // segments
	id     uint16 // of the first segment's IPv4 header
	seq    uint32 // of the first segment's TCP header
	flags  byte   // of the super-frame's TCP header
	ipSum  uint64 // IPv4 header less length, identification and checksum
	l4Sum  uint64 // pseudo-header and TCP or UDP header less lengths, checksum, sequence number and flags
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
	s.l4Sum = uint64(partialSum(p, l))
	if l.Version == 4 {
		s.shareIPv4(p.Frame[l.L3:l.L4])
	}
	if l.Proto == protoTCP {
		s.shareTCP(p.Frame[l.L4:l.Payload])
	} else {
		s.l4Sum += uint64(binary.BigEndian.Uint32(p.Frame[l.L4:])) // ports
	}
	return s, nil
}

// shareIPv4 sums up what all IPv4 headers have in common.
func (s *Segments) shareIPv4(ip []byte) {
	length, id, sum := binary.BigEndian.Uint16(ip[2:]), binary.BigEndian.Uint16(ip[4:]), binary.BigEndian.Uint16(ip[10:])
	s.id = id
	s.ipSum = less(sumIPv4(ip), length, id, sum)
}

// shareTCP does so for TCP headers.
func (s *Segments) shareTCP(tcp []byte) {
	s.seq = binary.BigEndian.Uint32(tcp[4:])
	s.flags = tcp[13]
	s.l4Sum += less(Checksum(tcp, 0), uint16(s.seq>>16), uint16(s.seq), uint16(s.flags), binary.BigEndian.Uint16(tcp[16:]))
}

// less takes words out of a sum. What is left folds to the sum of the rest.
func less(sum uint16, words ...uint16) uint64 {
	left := uint64(sum)
	for _, w := range words {
		left += uint64(^w)
	}
	return left
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

// Payload returns the payload of n segments from i on, which adjoin: a part of
// the super-frame's memory, not to be written to.
func (s *Segments) Payload(i, n int) []byte {
	from := s.layout.Payload + i*s.size
	to := min(from+n*s.size, s.layout.End)
	return s.frame[from:to:to]
}

// Put writes the headers of segment i, complete with all checksums, into
// header, which has at least HeaderLen bytes, and returns the segment's payload
// as Payload does.
func (s *Segments) Put(i int, header []byte) (payload []byte) {
	l := &s.layout
	payload = s.Payload(i, 1)
	header = header[:l.Payload]
	copy(header, s.frame)
	s.putIP(i, header[l.L3:], len(payload))
	if l.Proto == protoTCP {
		s.putTCP(i, header[l.L4:], payload)
	} else {
		s.putUDP(header[l.L4:], payload)
	}
	return payload
}

func (s *Segments) putIP(i int, ip []byte, payload int) {
	length := len(ip) + payload
	if s.layout.Version == 6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(length-ipv6HeaderLen))
		return
	}
	id := s.id + uint16(i)
	binary.BigEndian.PutUint16(ip[2:], uint16(length))
	binary.BigEndian.PutUint16(ip[4:], id)
	binary.BigEndian.PutUint16(ip[10:], ^fold(s.ipSum+uint64(uint16(length))+uint64(id)))
}

func (s *Segments) putTCP(i int, tcp, payload []byte) {
	flags := s.flags
	if i > 0 {
		flags &^= tcpCWR // told once (RFC 3168 §6.1.2)
	}
	if i < s.count-1 {
		flags &^= tcpFIN | tcpPSH // belong to the last byte
	}
	seq := s.seq + uint32(i*s.size)
	sum := s.l4Sum + uint64(len(tcp)+len(payload)) + uint64(seq) + uint64(flags)
	tcp[13] = flags
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint16(tcp[16:], ^Checksum(payload, fold(sum)))
}

func (s *Segments) putUDP(udp, payload []byte) {
	length := len(udp) + len(payload)
	pseudo := s.l4Sum + uint64(length)
	sum := ^Checksum(payload, fold(pseudo+uint64(uint16(length))))
	if sum == 0 {
		sum = 0xffff // zero means that there is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	binary.BigEndian.PutUint16(udp[6:], sum)
}
