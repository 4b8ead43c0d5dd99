package encap

import (
	"encoding/binary"
	"errors"
)

// ErrNotIP says that neither an IPv4 nor an IPv6 header is where one must be.
var ErrNotIP = errors.New("encap: not an IP packet")

// TrimPacket returns the IP packet that data begins with, without what lies
// behind it. It returns ErrNotIP for another version than 4 and 6, and
// ErrBadLength where the packet says that it is longer than data, or shorter
// than its own header: what the kernel would not take from a wire either.
func TrimPacket(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, ErrBadLength
	}
	length, header := 0, ipv4HeaderLen
	switch data[0] >> 4 {
	case 4:
		if len(data) < ipv4HeaderLen {
			return nil, ErrBadLength
		}
		header = max(header, int(data[0]&0x0f)*4)
		length = int(binary.BigEndian.Uint16(data[2:]))
		if data[0]&0x0f < ipv4HeaderLen/4 {
			return nil, ErrBadLength
		}
	case 6:
		header = ipv6HeaderLen
		if len(data) < ipv6HeaderLen {
			return nil, ErrBadLength
		}
		length = header + int(binary.BigEndian.Uint16(data[4:]))
	default:
		return nil, ErrNotIP
	}
	if length < header || length > len(data) {
		return nil, ErrBadLength
	}
	return data[:length:length], nil
}

// Destination returns the destination address of the IP packet in the frame, a
// part of it, or nil if there is none.
func Destination(frame []byte, l *Layout) []byte {
	switch l.Version {
	case 4:
		return frame[l.L3+16 : l.L3+20 : l.L3+20]
	case 6:
		return frame[l.L3+24 : l.L3+40 : l.L3+40]
	}
	return nil
}

// PacketDestination is Destination for a packet without anything in front, of
// which nothing is known yet: only its version and length are looked at.
func PacketDestination(packet []byte) []byte {
	switch {
	case len(packet) >= ipv4HeaderLen && packet[0]>>4 == 4:
		return packet[16:20:20]
	case len(packet) >= ipv6HeaderLen && packet[0]>>4 == 6:
		return packet[24:40:40]
	}
	return nil
}

// PutEtherHeader writes the Ethernet header of an IP packet of version 4 or 6
// into the first EtherHeaderLen bytes of b.
func PutEtherHeader(b []byte, dst, src [6]byte, version uint8) {
	etherType := uint16(etherIPv4)
	if version == 6 {
		etherType = etherIPv6
	}
	putEther(b[:EtherHeaderLen], dst[:], src, etherType)
}

// CarriesIP reports whether the frame has an IP header right behind its
// Ethernet header: whole, of the version that its EtherType says, and without a
// VLAN tag between.
func (l *Layout) CarriesIP() bool { return l.Version != 0 && l.Tags == 0 }

// Shift moves all offsets of a layout by n bytes, because n were put in front of
// the frame, or taken off if n is negative.
func (l *Layout) Shift(n int) {
	l.L3 += n
	l.End += n
	if l.L4 != 0 {
		l.L4 += n
		l.Payload += n
	}
}

// Shift does so with the offsets of a description.
func (g *GSO) Shift(n int) {
	if g.NeedsCsum {
		g.CsumStart += uint16(n)
		g.HeaderLen += uint16(n)
	}
}
