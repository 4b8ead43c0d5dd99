package encap

import "encoding/binary"

// ECN codepoints: the low two bits of TOS or traffic class (RFC 3168 §5).
const (
	ecnMask = 3
	notECT  = 0
	ect1    = 1
	ect0    = 2
	ce      = 3
)

// InnerTOS returns the TOS or traffic class of the IP packet in the frame, or
// 0 if there is none.
func InnerTOS(frame []byte, l *Layout) uint8 {
	switch l.Version {
	case 4:
		return frame[l.L3+1]
	case 6:
		return uint8(binary.BigEndian.Uint16(frame[l.L3:]) >> 4)
	}
	return 0
}

// OuterTOS returns the outer TOS for an inner one: the DSCP as configured, the
// ECN field of the inner packet, with CE shown as ECT(0) to the underlay
// (the kernel's reading of RFC 6040 §4.1).
func OuterTOS(dscp, inner uint8) uint8 {
	ecn := inner & ecnMask
	if ecn == ce {
		ecn = ect0
	}
	return dscp&^ecnMask | ecn
}

// DecapECN carries the congestion mark of the outer TOS over to an untagged IP
// packet in the frame (RFC 6040 §4.2), in place. It returns ErrECN when the
// frame has to be dropped: marked outside, and inside from a sender that would
// not understand.
//
//	inner\outer   Not-ECT  ECT(1)  ECT(0)  CE
//	Not-ECT       Not-ECT  Not-ECT Not-ECT drop
//	ECT(1)        ECT(1)   ECT(1)  ECT(1)  CE
//	ECT(0)        ECT(0)   ECT(1)  ECT(0)  CE
//	CE            CE       CE      CE      CE
func DecapECN(frame []byte, l *Layout, outer uint8) error {
	outer &= ecnMask
	if outer != ce && outer != ect1 || l.Tags > 0 || l.Version == 0 {
		return nil
	}
	switch inner := InnerTOS(frame, l) & ecnMask; {
	case inner == notECT && outer == ce:
		return ErrECN
	case inner == notECT || inner == ce || inner == outer:
		return nil
	case outer == ce || inner == ect0:
		setECN(frame, l, outer)
	}
	return nil
}

// setECN writes the ECN field and mends the IPv4 header checksum (RFC 1624).
func setECN(frame []byte, l *Layout, ecn uint8) {
	ip := frame[l.L3:]
	if l.Version == 6 {
		ip[1] = ip[1]&^(ecnMask<<4) | ecn<<4
		return
	}
	before := binary.BigEndian.Uint16(ip)
	ip[1] = ip[1]&^ecnMask | ecn
	sum := uint64(^binary.BigEndian.Uint16(ip[10:])) + uint64(^before) + uint64(binary.BigEndian.Uint16(ip))
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum))
}

// InnerTTL returns the TTL or hop limit of the IP packet in the frame, or 0.
func InnerTTL(frame []byte, l *Layout) uint8 {
	switch l.Version {
	case 4:
		return frame[l.L3+8]
	case 6:
		return frame[l.L3+7]
	}
	return 0
}

// InnerDF reports whether the packet in an untagged frame must not be
// fragmented: IPv4 with DF, or IPv6. The kernel's `df inherit` does not look
// behind a VLAN tag either.
func InnerDF(frame []byte, l *Layout) bool {
	if l.Tags > 0 {
		return false
	}
	return l.Version == 6 || l.Version == 4 && frame[l.L3+6]&0x40 != 0
}
