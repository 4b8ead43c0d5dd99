package encap

import "encoding/binary"

// TooBigLen is the room that TooBig needs: an Ethernet header and the most
// that an ICMPv6 error may have (RFC 4443 §2.4 c).
const TooBigLen = EtherHeaderLen + maxError6

const (
	protoICMP   = 1
	protoICMPv6 = 58

	icmpHeaderLen = 8

	// The sizes up to which errors quote what they are about (RFC 1812
	// §4.3.2.3, RFC 4443 §2.4 c). A path that does not carry as much gets none:
	// every host's packets of that size must pass.
	maxError4 = 576
	maxError6 = 1280

	dontFragment = 0x4000 // in the IPv4 flags and fragment offset
)

// PacketLen returns the bytes of the largest IP packet that a frame, or each
// segment of a super-frame, becomes: what has to fit into the path MTU less
// the VXLAN overhead. Whatever is not IP counts from behind its Ethernet
// header and VLAN tags, as do an Ethernet frame's padding and a tag that is one
// too many, because the kernel compares so.
func PacketLen(p *Packet, l *Layout) int {
	n := len(p.Frame) - l.L3
	if p.GSO.Type != GSONone && l.L4 != 0 {
		n = min(n, l.Payload-l.L3+int(p.GSO.Size))
	}
	return n
}

// TooBig writes to out the frame that tells the sender of frame, which has
// layout l, that its packet does not fit: the ICMP error "fragmentation needed"
// (RFC 1191 §4) or "packet too big" (RFC 4443 §3.2) with mtu, in bytes of inner
// IP packet. out must have a capacity of TooBigLen and must not overlap frame.
// The result is a part of out, or empty if no such error is due; then frame
// is to be sent as it is.
//
// A bare packet's answer is a bare packet.
//
// None is due where the kernel's device makes none (iptunnel_pmtud_check_icmp
// and _icmpv6): behind VLAN tags, for IPv4 packets that may be fragmented or
// are fragments, for later fragments of IPv6 packets, about ICMP errors, to and
// from addresses that no single host has, and if mtu is less than such an
// error's own size. What the kernel means, that is, rather than what 6.18 does
// with some IPv6 packets: it looks for extension headers 14 bytes before where
// they are, and so takes the destination address for one; it answers packets
// to groups, from link-local groups and from the loopback address, and nobody
// accepts such answers.
func TooBig(out, frame []byte, l *Layout, mtu int) []byte {
	if l.Tags > 0 {
		return nil
	}
	packet := frame[l.L3:]
	switch {
	case l.Version == 4 && mtu >= maxError4 && minds4(packet):
		return tooBig4(out[:TooBigLen], frame, l.L3, mtu)
	case l.Version == 6 && mtu >= maxError6 && minds6(packet):
		return tooBig6(out[:TooBigLen], frame, l.L3, mtu)
	}
	return nil
}

// minds4 reports whether the sender of an IPv4 packet is to be told.
func minds4(ip []byte) bool {
	if binary.BigEndian.Uint16(ip[6:]) != dontFragment {
		return false
	}
	if !singleHosts4(ip) {
		return false
	}
	header := int(ip[0]&0x0f) * 4
	return ip[9] != protoICMP || len(ip) > header && !isError4(ip[header])
}

// singleHosts4 reports whether an IPv4 packet goes from one host to one host, as
// far as its addresses tell, and the answer to it would.
func singleHosts4(ip []byte) bool {
	src, dst := binary.BigEndian.Uint32(ip[12:]), binary.BigEndian.Uint32(ip[16:])
	return src != 0 && src>>24 != 127 && !isGroup4(src) && !isGroup4(dst)
}

// isGroup4 tells multicast and the limited broadcast address.
func isGroup4(addr uint32) bool { return addr>>28 == 0xe || addr == 0xffff_ffff }

func isError4(icmpType byte) bool {
	const unreachable, quench, redirect, timeExceeded, parameter = 3, 4, 5, 11, 12
	switch icmpType {
	case unreachable, quench, redirect, timeExceeded, parameter:
		return true
	}
	return false
}

// minds6 reports whether the sender of an IPv6 packet is to be told.
func minds6(ip []byte) bool {
	if !singleHosts6(ip) {
		return false
	}
	proto, at := upper6(ip)
	switch {
	case at < 0:
		return false
	case proto != protoICMPv6:
		return true
	}
	return at < len(ip) && !isError6(ip[at])
}

// singleHosts6 is singleHosts4 for IPv6.
func singleHosts6(ip []byte) bool {
	const multicast = 0xff
	return ip[8] != multicast && ip[24] != multicast && !isUnspecifiedOrLoopback6(ip[8:24])
}

func isUnspecifiedOrLoopback6(addr []byte) bool {
	return binary.BigEndian.Uint64(addr) == 0 && binary.BigEndian.Uint64(addr[8:]) <= 1
}

// upper6 finds the upper layer of an IPv6 packet behind any number of
// extension headers. Its offset is -1 where there is none to be found: in
// later fragments, in packets that end before, and behind "no next header".
//
// Layout.Proto does not do here: it is the same for first and later fragments.
func upper6(ip []byte) (proto byte, at int) {
	const hopByHop, routing, fragment, authentication, none, destination = 0, 43, 44, 51, 59, 60
	proto, at = ip[6], ipv6HeaderLen
	for {
		length := 8
		switch proto {
		case hopByHop, routing, destination, authentication, fragment:
		case none:
			return proto, -1
		default:
			return proto, at
		}
		if len(ip) < at+length {
			return proto, -1
		}
		switch proto {
		case fragment:
			if binary.BigEndian.Uint16(ip[at+2:])&^7 != 0 {
				return proto, -1
			}
		case authentication:
			length = int(ip[at+1])*4 + 8 // counts in words (RFC 4302 §2.2)
		default:
			length = int(ip[at+1])*8 + 8
		}
		proto = ip[at]
		at += length
	}
}

func isError6(icmpType byte) bool {
	const unreachable, parameter, redirect = 1, 4, 137
	return icmpType >= unreachable && icmpType <= parameter || icmpType == redirect
}

// tooBig4 writes the ICMPv4 error about frame, whose IP header is at l3, to out.
func tooBig4(out, frame []byte, l3, mtu int) []byte {
	const unreachable, fragmentationNeeded = 3, 4
	out = quote(out, frame, l3, ipv4HeaderLen, maxError4)
	ip, offender := out[l3:], frame[l3:]
	icmp := ip[ipv4HeaderLen:]

	binary.BigEndian.PutUint64(icmp, unreachable<<56|fragmentationNeeded<<48|uint64(mtu&0xffff))
	binary.BigEndian.PutUint16(icmp[2:], ^Checksum(icmp, 0))

	ip[0], ip[1] = 0x45, 0
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint32(ip[4:], dontFragment) // identification 0
	ip[8], ip[9] = offender[8], protoICMP            // TTL as it came
	copy(ip[12:16], offender[16:20])
	copy(ip[16:20], offender[12:16])
	putIPv4Checksum(ip)
	return out
}

// tooBig6 writes the ICMPv6 error about frame to out.
func tooBig6(out, frame []byte, l3, mtu int) []byte {
	const packetTooBig = 2
	out = quote(out, frame, l3, ipv6HeaderLen, maxError6)
	ip, offender := out[l3:], frame[l3:]
	icmp := ip[ipv6HeaderLen:]

	binary.BigEndian.PutUint64(ip, 6<<60|uint64(len(icmp))<<16|protoICMPv6<<8|uint64(offender[7])) // hop limit as it came
	copy(ip[8:24], offender[24:40])
	copy(ip[24:40], offender[8:24])

	binary.BigEndian.PutUint64(icmp, packetTooBig<<56|uint64(uint32(mtu)))
	pseudo := Checksum(ip[8:40], fold(protoICMPv6+uint64(len(icmp))))
	binary.BigEndian.PutUint16(icmp[2:], ^Checksum(icmp, pseudo))
	return out
}

// quote writes the Ethernet header of an answer to frame if that has one in
// front of its IP header at l3, leaves room for an IP header of header bytes and
// the ICMP header, and puts as much of the packet behind them as the answer may
// have, limit bytes in all. It returns the answer's frame.
func quote(out, frame []byte, l3, header, limit int) []byte {
	if l3 > 0 {
		copy(out[:6], frame[6:12])
		copy(out[6:12], frame[:6])
		copy(out[12:14], frame[12:14])
	}
	header += l3 + icmpHeaderLen
	n := copy(out[header:l3+limit], frame[l3:])
	return out[:header+n]
}
