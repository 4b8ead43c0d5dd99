package encap

import (
	"encoding/binary"
	"net/netip"
)

// NeighbourReplyLen is the room that ARPReply and NeighbourAdvertisement need.
const NeighbourReplyLen = EtherHeaderLen + ipv6HeaderLen + advertisementLen

const (
	etherARP = 0x0806

	arpLen       = 28 // Ethernet and IPv4 addresses (RFC 826)
	arpSenderMAC = 8
	arpSenderIP  = 14
	arpTargetMAC = 18
	arpTargetIP  = 24

	solicitationLen  = 24 // without options (RFC 4861 §4.3)
	optionLen        = 8  // of a link-layer address, and the unit of an option's length field
	advertisementLen = solicitationLen + optionLen
)

// ParseSolicitation reports whether the frame is one that a proxying device
// keeps to itself, and whose link-layer address it asks for. Kept are all
// untagged ARP frames, and IPv6 packets with a whole neighbour solicitation right
// behind their fixed header. The target is the zero Addr where there is nothing
// to look up: in ARP frames that are no whole requests for an IPv4 address, and
// about loopback and multicast addresses.
//
// That is what the kernel's device keeps and looks up (arp_reduce and
// neigh_reduce, Linux 6.18). Checksums, hop limits and lengths in the packet
// are not looked at there either.
func ParseSolicitation(frame []byte) (target netip.Addr, ok bool) {
	if len(frame) < EtherHeaderLen {
		return netip.Addr{}, false
	}
	packet := frame[EtherHeaderLen:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		return arpTarget(packet), true
	case etherIPv6:
		if len(packet) >= ipv6HeaderLen+solicitationLen && isSolicitation(packet) {
			return solicitedTarget(packet), true
		}
	}
	return netip.Addr{}, false
}

func arpTarget(arp []byte) (target netip.Addr) {
	const ethernet, ieee802, request = 1, 6, 1
	if len(arp) < arpLen {
		return target
	}
	hardware := binary.BigEndian.Uint16(arp)
	if hardware != ethernet && hardware != ieee802 ||
		binary.BigEndian.Uint16(arp[2:]) != etherIPv4 ||
		arp[4] != 6 || arp[5] != 4 || // address lengths
		binary.BigEndian.Uint16(arp[6:]) != request {
		return target
	}
	if addr := netip.AddrFrom4([4]byte(arp[arpTargetIP:])); !addr.IsLoopback() && !addr.IsMulticast() {
		target = addr
	}
	return target
}

func isSolicitation(ip []byte) bool {
	const solicitation = 135
	return ip[6] == protoICMPv6 && ip[ipv6HeaderLen] == solicitation && ip[ipv6HeaderLen+1] == 0
}

// solicitedTarget returns what is asked for. It is the destination of the
// packet, not the target, that must not be the loopback address.
func solicitedTarget(ip []byte) (target netip.Addr) {
	if netip.AddrFrom16([16]byte(ip[24:])).IsLoopback() {
		return target
	}
	const multicast = 0xff
	if at := ip[ipv6HeaderLen+8:]; at[0] != multicast {
		target = netip.AddrFrom16([16]byte(at))
	}
	return target
}

// ARPReply writes to out the answer to an ARP request for which
// ParseSolicitation has named a target: the target is at mac. The frame goes to
// the sender's address in the request, whoever the request came from. out must
// have a capacity of NeighbourReplyLen and must not overlap frame; the result
// is a part of it.
func ARPReply(out, frame []byte, mac [6]byte) []byte {
	const ethernetIPv4, lengthsReply = 1<<16 | etherIPv4, 6<<24 | 4<<16 | 2
	out = out[:EtherHeaderLen+arpLen]
	request := frame[EtherHeaderLen:]
	arp := putEther(out, request[arpSenderMAC:arpSenderMAC+6], mac, etherARP)
	binary.BigEndian.PutUint32(arp, ethernetIPv4)
	binary.BigEndian.PutUint32(arp[4:], lengthsReply)
	copy(arp[arpSenderMAC:], mac[:])
	copy(arp[arpSenderIP:], request[arpTargetIP:arpTargetIP+4])
	copy(arp[arpTargetMAC:], request[arpSenderMAC:arpTargetMAC]) // MAC and IP
	return out
}

// NeighbourAdvertisement writes to out the answer to a neighbour solicitation
// for which ParseSolicitation has named a target: the target is at mac, and is
// a router or is not. The result is empty where the solicitation's options are
// malformed. Of out the same is wanted as by ARPReply.
//
// The answer is the kernel's: solicited and overriding what is known, to the
// unspecified address too where the question came from there, with the upper
// half of the traffic class that the question had.
func NeighbourAdvertisement(out, frame []byte, mac [6]byte, router bool) []byte {
	const advertisement, isRouter, solicitedOverride, targetAddress = 136, 0x80, 0x60, 2
	to := solicitor(frame)
	if to == nil {
		return nil
	}
	out = out[:NeighbourReplyLen]
	ip, question := putEther(out, to, mac, etherIPv6), frame[EtherHeaderLen:]
	icmp := ip[ipv6HeaderLen:]

	flags := uint64(solicitedOverride)
	if router {
		flags |= isRouter
	}
	binary.BigEndian.PutUint64(icmp, advertisement<<56|flags<<24)
	copy(icmp[8:24], question[ipv6HeaderLen+8:])
	icmp[24], icmp[25] = targetAddress, 1
	copy(icmp[26:32], mac[:])

	class := uint64(question[0]&0x0f) << 56
	binary.BigEndian.PutUint64(ip, 6<<60|class|advertisementLen<<16|protoICMPv6<<8|255)
	copy(ip[8:24], icmp[8:24])
	copy(ip[24:40], question[8:24])

	pseudo := Checksum(ip[8:40], fold(protoICMPv6+advertisementLen))
	binary.BigEndian.PutUint16(icmp[2:], ^Checksum(icmp, pseudo))
	return out
}

// solicitor returns the link-layer address that wants the answer: the first
// source link-layer address option's, else the frame's source; nil if options
// are malformed. They reach to the end of the frame, whatever the packet says
// of its length, so padding is a malformed option.
func solicitor(frame []byte) []byte {
	const sourceAddress = 1
	options := frame[EtherHeaderLen+ipv6HeaderLen+solicitationLen:]
	for len(options) > 1 {
		n := int(options[1]) * optionLen
		if n == 0 || n > len(options) {
			return nil
		}
		if options[0] == sourceAddress {
			return options[2:8]
		}
		options = options[n:]
	}
	return frame[6:12]
}

// putEther writes an Ethernet header and returns what is behind it.
func putEther(out, dst []byte, src [6]byte, etherType uint16) []byte {
	copy(out[:6], dst)
	copy(out[6:12], src[:])
	binary.BigEndian.PutUint16(out[12:], etherType)
	return out[EtherHeaderLen:]
}
