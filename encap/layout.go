package encap

import "encoding/binary"

// Ethernet and IP numbers that frames are told apart by.
const (
	EtherHeaderLen = 14

	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8

	minEtherType = 0x0600 // smaller values are 802.3 lengths

	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	tcpHeaderLen  = 20
	udpHeaderLen  = 8

	protoTCP = 6
	protoUDP = 17

	maxVLANTags = 2
)

// Layout says where the headers of a frame are. Offsets count from the start
// of the frame; a header that is missing or cut off has offset 0.
type Layout struct {
	EtherType uint16 // of what is behind the VLAN tags
	Tags      uint8  // VLAN tags in front of it
	Version   uint8  // 4 or 6 if a whole IP header is there, else 0
	Proto     uint8  // of the upper layer, extension headers skipped
	Fragment  bool   // part of a fragmented packet, the first part too
	L3        int    // IP header, or whatever EtherType says
	L4        int    // TCP or UDP header, whole; 0 in fragments
	Payload   int    // behind the TCP or UDP header
	End       int    // end of the IP packet: an Ethernet frame may be padded
}

// ParseFrame finds the headers of an Ethernet frame, behind up to two VLAN
// tags. It never fails: what it cannot follow it leaves at zero.
func ParseFrame(frame []byte) (l Layout) {
	l.ParseFrame(frame)
	return l
}

// ParseFrame does so in place: to copy the result takes as long as to find it.
func (l *Layout) ParseFrame(frame []byte) {
	*l = Layout{End: len(frame)}
	if len(frame) < EtherHeaderLen {
		return
	}
	l.L3 = EtherHeaderLen
	l.EtherType = binary.BigEndian.Uint16(frame[12:])
	for isVLAN(l.EtherType) && l.Tags < maxVLANTags && len(frame) >= l.L3+4 {
		l.EtherType = binary.BigEndian.Uint16(frame[l.L3+2:])
		l.L3 += 4
		l.Tags++
	}
	switch l.EtherType {
	case etherIPv4:
		l.parseIPv4(frame)
	case etherIPv6:
		l.parseIPv6(frame)
	}
}

// ParsePacket finds the headers of a bare IP packet, as a TUN device carries it.
func ParsePacket(packet []byte) (l Layout) {
	l.ParsePacket(packet)
	return l
}

// ParsePacket does so in place.
func (l *Layout) ParsePacket(packet []byte) {
	*l = Layout{End: len(packet)}
	if len(packet) == 0 {
		return
	}
	switch packet[0] >> 4 {
	case 4:
		l.EtherType = etherIPv4
		l.parseIPv4(packet)
	case 6:
		l.EtherType = etherIPv6
		l.parseIPv6(packet)
	}
}

func isVLAN(etherType uint16) bool { return etherType == etherVLAN || etherType == etherQinQ }

func (l *Layout) parseIPv4(frame []byte) {
	ip := frame[l.L3:]
	if len(ip) < ipv4HeaderLen || ip[0]>>4 != 4 {
		return
	}
	header := int(ip[0]&0x0f) * 4
	if header < ipv4HeaderLen || len(ip) < header {
		return
	}
	l.Version, l.Proto = 4, ip[9]
	l.clipEnd(int(binary.BigEndian.Uint16(ip[2:])))
	// More-fragments bit or an offset (RFC 791 §3.1).
	l.Fragment = binary.BigEndian.Uint16(ip[6:])&0x3fff != 0
	l.parseL4(frame, l.L3+header)
}

func (l *Layout) parseIPv6(frame []byte) {
	ip := frame[l.L3:]
	if len(ip) < ipv6HeaderLen || ip[0]>>4 != 6 {
		return
	}
	l.Version, l.Proto = 6, ip[6]
	l.clipEnd(ipv6HeaderLen + int(binary.BigEndian.Uint16(ip[4:])))
	l.parseL4(frame, l.skipExtensions(frame))
}

// clipEnd takes the IP header's own length where it is shorter than the frame.
// A length of zero stands in super-frames too large for the field.
func (l *Layout) clipEnd(packetLen int) {
	if end := l.L3 + packetLen; packetLen > 0 && end < l.End {
		l.End = end
	}
}

// skipExtensions walks the IPv6 extension headers (RFC 8200 §4) in front of
// the upper layer and returns its offset. It gives up, leaving Proto at the
// header it could not pass, after more headers than any sane packet has.
func (l *Layout) skipExtensions(frame []byte) int {
	const hopByHop, routing, fragment, destination = 0, 43, 44, 60
	at := l.L3 + ipv6HeaderLen
	for range 8 {
		if len(frame) < at+8 {
			return at
		}
		switch l.Proto {
		case hopByHop, routing, destination:
			l.Proto = frame[at]
			at += 8 + int(frame[at+1])*8
		case fragment:
			l.Fragment = true
			l.Proto = frame[at]
			return at + 8
		default:
			return at
		}
	}
	return at
}

func (l *Layout) parseL4(frame []byte, at int) {
	if l.Fragment || at > l.End {
		return
	}
	l4 := frame[at:l.End]
	switch {
	case l.Proto == protoUDP && len(l4) >= udpHeaderLen:
		l.L4, l.Payload = at, at+udpHeaderLen
	case l.Proto == protoTCP && len(l4) >= tcpHeaderLen:
		header := int(l4[12]>>4) * 4
		if header >= tcpHeaderLen && len(l4) >= header {
			l.L4, l.Payload = at, at+header
		}
	}
}

// CheckLength refuses, as the kernel's device does, an untagged frame that
// says IP and has no room for the fixed IP header.
func (l *Layout) CheckLength(frame []byte) error {
	if l.Tags > 0 {
		return nil
	}
	room := len(frame) - l.L3
	if l.EtherType == etherIPv4 && room < ipv4HeaderLen || l.EtherType == etherIPv6 && room < ipv6HeaderLen {
		return ErrBadLength
	}
	return nil
}

// csumOffset is where the checksum is, from the start of the upper header.
func (l *Layout) csumOffset() int {
	if l.Proto == protoTCP {
		return 16
	}
	return 6
}
