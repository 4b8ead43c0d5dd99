package encap

import (
	"encoding/binary"
	"math/bits"
)

// FlowHash returns a hash of the flow that the frame belongs to, for choosing
// a source port (RFC 7348 §5) or a queue. It is the same for both directions
// of a flow, does not depend on MAC addresses or VLAN tags of IP packets, and
// puts all fragments between two hosts, the first ones too, into one flow, as
// the kernel's hash does. Frames that are not IP hash by their type.
func FlowHash(frame []byte, l *Layout) uint32 {
	switch l.Version {
	case 4:
		ip := frame[l.L3:]
		src := uint64(binary.BigEndian.Uint32(ip[12:]))
		dst := uint64(binary.BigEndian.Uint32(ip[16:]))
		return mixEnds(src, dst, frame, l)
	case 6:
		ip := frame[l.L3:]
		src := mix(binary.BigEndian.Uint64(ip[8:]), binary.BigEndian.Uint64(ip[16:]))
		dst := mix(binary.BigEndian.Uint64(ip[24:]), binary.BigEndian.Uint64(ip[32:]))
		return mixEnds(src, dst, frame, l)
	}
	kind := l.EtherType
	if kind < minEtherType {
		kind = 0 // the length of an 802.3 frame
	}
	return uint32(mix(uint64(kind), 0) >> 32)
}

// mixEnds hashes (address, port) of each end and adds the two, so that their
// order does not matter.
func mixEnds(src, dst uint64, frame []byte, l *Layout) uint32 {
	var srcPort, dstPort uint64
	if l.L4 != 0 {
		srcPort = uint64(binary.BigEndian.Uint16(frame[l.L4:]))
		dstPort = uint64(binary.BigEndian.Uint16(frame[l.L4+2:]))
	}
	ends := mix(src, srcPort) + mix(dst, dstPort)
	return uint32(mix(ends, uint64(l.Proto)) >> 32)
}

// mix multiplies two odd-salted words to 128 bits and folds them.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e37_79b9_7f4a_7c15, b^0xd6e8_feb8_6659_fd93)
	return hi ^ lo
}
