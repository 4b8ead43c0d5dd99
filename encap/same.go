package encap

import "encoding/binary"

// Masks of headers as they are read in little-endian words of eight bytes: what
// may differ between the segments of a super-frame is left out.
const (
	mask4   = 0xffff_0000_0000_ffff // IPv4: length and identification
	mask6   = 0xffff_0000_ffff_ffff // IPv6: length
	maskTCP = 0xffff_f7ff_ffff_ffff // TCP from its second word on: PSH
)

// sameHeaders compares all that a super-frame has only once: everything in
// front of the payload but lengths, checksums, IPv4 identification, TCP
// sequence number and PSH. TTL, the whole TOS with its ECN bits, DF, the flow
// label, acknowledgement, window and TCP options have to be equal. The frame is
// not shorter than f's headers. If they are the same, f's layout is the
// frame's own, but for the end.
//
// It collects differences instead of leaving at the first one: there hardly
// ever is any.
func (f *Coalesced) sameHeaders(frame []byte) bool {
	l, at := &f.layout, f.layout.L4
	a, b := f.Frame[:l.Payload], frame[:l.Payload]
	diff := uint64(diff4(a, b, at)) // ports
	if l.L3 > 0 {
		diff |= diff8(a, b, 0) | diff8(a, b, 6) | diff8(a, b, l.L3-8) // 14, 18 or 22 bytes
	}
	if l.Version == 4 {
		diff |= diff8(a, b, l.L3)&mask4 | uint64(uint16(diff4(a, b, l.L3+8))) | diff8(a, b, l.L3+12)
	} else {
		diff |= diff8(a, b, l.L3) & mask6
		for i := l.L3 + 8; i < at; i += 8 {
			diff |= diff8(a, b, i)
		}
	}
	if l.Proto == protoTCP {
		diff |= diff8(a, b, at+8)&maskTCP | uint64(diff4(a, b, at+16)>>16) // urgent pointer
		for i := at + tcpHeaderLen; i < l.Payload; i += 4 {
			diff |= uint64(diff4(a, b, i))
		}
	}
	return diff == 0
}

func diff8(a, b []byte, at int) uint64 {
	return binary.LittleEndian.Uint64(a[at:]) ^ binary.LittleEndian.Uint64(b[at:])
}

func diff4(a, b []byte, at int) uint32 {
	return binary.LittleEndian.Uint32(a[at:]) ^ binary.LittleEndian.Uint32(b[at:])
}
