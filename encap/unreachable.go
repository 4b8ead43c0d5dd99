package encap

import (
	"encoding/binary"
	"net/netip"
)

// NoRouteLen is the room that NoRoute needs.
const NoRouteLen = maxError6

// noRouteTTL is that of the ICMPv4 answer, as flannel's proxy has it: it has to
// reach this host, or one behind it.
const noRouteTTL = 8

// NoRoute writes to out the packet that tells the sender of the bare IP packet,
// which has layout l, that there is no way to its destination: ICMP "net
// unreachable" (RFC 792) or ICMPv6 "no route to destination" (RFC 4443 §3.1),
// from src, which is of the packet's family. out must have a capacity of
// NoRouteLen and must not overlap packet. The result is a part of out, or empty
// if no error is due.
//
// The IPv4 answer is that of flannel's udp backend: TTL 8, identification 0,
// the offending header and eight bytes behind it. None is due about ICMP of
// any kind, as there, about later fragments, and to or about addresses that no
// single host has (RFC 1122 §3.2.2, RFC 4443 §2.4 e). Over IPv6 the answer
// quotes as much as may be.
func NoRoute(out, packet []byte, l *Layout, src netip.Addr) []byte {
	switch {
	case l.Version == 4 && src.Is4() && packet[9] != protoICMP && singleHosts4(packet) && firstFragment4(packet):
		return noRoute4(out[:NoRouteLen], packet, src.As4())
	case l.Version == 6 && src.Is6() && singleHosts6(packet):
		if proto, at := upper6(packet); at >= 0 && proto != protoICMPv6 {
			return noRoute6(out[:NoRouteLen], packet, src.As16())
		}
	}
	return nil
}

func firstFragment4(ip []byte) bool { return binary.BigEndian.Uint16(ip[6:])&0x1fff == 0 }

func noRoute4(out, offender []byte, src [4]byte) []byte {
	const unreachable = 3
	quoted := int(offender[0]&0x0f)*4 + 8
	n := copy(out[ipv4HeaderLen+icmpHeaderLen:], offender[:min(quoted, len(offender))])
	ip := out[:ipv4HeaderLen+icmpHeaderLen+n]
	icmp := ip[ipv4HeaderLen:]

	binary.BigEndian.PutUint64(icmp, unreachable<<56) // code 0
	binary.BigEndian.PutUint16(icmp[2:], ^Checksum(icmp, 0))

	ip[0], ip[1] = 0x45, 0
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint32(ip[4:], 0)
	ip[8], ip[9] = noRouteTTL, protoICMP
	copy(ip[12:16], src[:])
	copy(ip[16:20], offender[12:16])
	putIPv4Checksum(ip)
	return ip
}

func noRoute6(out, offender []byte, src [16]byte) []byte {
	const unreachable, hopLimit = 1, 64
	n := copy(out[ipv6HeaderLen+icmpHeaderLen:], offender)
	ip := out[:ipv6HeaderLen+icmpHeaderLen+n]
	icmp := ip[ipv6HeaderLen:]

	binary.BigEndian.PutUint64(ip, 6<<60|uint64(len(icmp))<<16|protoICMPv6<<8|hopLimit)
	copy(ip[8:24], src[:])
	copy(ip[24:40], offender[8:24])

	binary.BigEndian.PutUint64(icmp, unreachable<<56) // code 0
	pseudo := Checksum(ip[8:40], fold(protoICMPv6+uint64(len(icmp))))
	binary.BigEndian.PutUint16(icmp[2:], ^Checksum(icmp, pseudo))
	return ip
}
