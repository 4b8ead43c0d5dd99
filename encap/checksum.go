package encap

import (
	"encoding/binary"
	"math/bits"
)

// Checksum returns the ones' complement sum (RFC 1071) of b, taken as
// big-endian 16-bit words with an odd last byte padded by zero, added to
// initial. It is folded to 16 bits and not complemented.
//
// The bytes are added as little-endian 64-bit words, with the carry fed back,
// and swapped once at the end: ones' complement sums do not care (RFC 1071
// §2B).
func Checksum(b []byte, initial uint16) uint16 {
	var sum, carry uint64
	for len(b) >= 64 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[24:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[32:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[40:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[48:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	if len(b) > 0 {
		sum, carry = bits.Add64(sum, tail(b), carry)
	}
	sum, carry = bits.Add64(sum, 0, carry)
	swapped := bits.ReverseBytes16(fold(sum + carry))
	return fold(uint64(swapped) + uint64(initial))
}

// tail returns the last 1 to 7 bytes as a little-endian word padded by zeros.
func tail(b []byte) (word uint64) {
	for i, v := range b {
		word |= uint64(v) << (8 * i)
	}
	return word
}

// fold adds the four 16-bit parts of a sum until they fit into one.
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffff_ffff
	sum = sum>>32 + sum&0xffff_ffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// pseudoHeader returns the sum of the pseudo-header (RFC 9293 §3.1, RFC 768,
// RFC 8200 §8.1) of the packet at l, for an upper layer of length bytes.
func pseudoHeader(frame []byte, l *Layout, length int) uint16 {
	seed := fold(uint64(l.Proto) + uint64(length))
	if l.Version == 4 {
		return Checksum(frame[l.L3+12:l.L3+20], seed)
	}
	return Checksum(frame[l.L3+8:l.L3+40], seed)
}

// putIPv4Checksum fills in the header checksum of the IPv4 packet at ip.
func putIPv4Checksum(ip []byte) {
	header := ip[:int(ip[0]&0x0f)*4]
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], ^Checksum(header, 0))
}

// csumState is what verify found out about the checksum of a TCP segment or
// UDP datagram.
type csumState uint8

const (
	csumBad     csumState = iota
	csumValid             // complete and right
	csumPartial           // the pseudo-header's sum only: somebody still has to add the rest
	csumNone              // UDP over IPv4 without a checksum (RFC 768)
)

// verify checks the TCP or UDP checksum of the frame, which must have one at
// l.L4. A kernel that hands a packet from one of its devices to a socket on
// the same machine does not complete checksums: such a field equals the sum of
// the pseudo-header. A complete checksum looks like that once in 65536 frames;
// completing it again is then harmless.
func verify(frame []byte, l *Layout) csumState {
	field := binary.BigEndian.Uint16(frame[l.L4+l.csumOffset():])
	if field == 0 && l.Proto == protoUDP {
		return csumNone
	}
	pseudo := pseudoHeader(frame, l, l.End-l.L4)
	if field == pseudo {
		return csumPartial
	}
	if Checksum(frame[l.L4:l.End], pseudo) == 0xffff {
		return csumValid
	}
	return csumBad
}

// isPartial is verify for those who only want to know about csumPartial.
func isPartial(frame []byte, l *Layout) bool {
	field := binary.BigEndian.Uint16(frame[l.L4+l.csumOffset():])
	return !(field == 0 && l.Proto == protoUDP) && field == pseudoHeader(frame, l, l.End-l.L4)
}

// FinishChecksum completes the checksum of a frame with layout l that is no
// super-frame and whose GSO says NeedsCsum. Where the description points outside
// the packet it changes nothing and returns ErrGSO.
func FinishChecksum(p *Packet, l *Layout) error {
	start, field := int(p.GSO.CsumStart), int(p.GSO.CsumStart)+int(p.GSO.CsumOffset)
	if field+2 > l.End {
		return ErrGSO
	}
	sum := ^Checksum(p.Frame[start:l.End], 0)
	if sum == 0 && p.GSO.CsumOffset == 6 {
		sum = 0xffff // UDP: zero means that there is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(p.Frame[field:], sum)
	p.GSO = GSO{}
	return nil
}
