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
	all := b
	if vectors && len(b) >= vectorsFrom {
		n := len(b) &^ 31
		sum, b = sumVectors(b[:n]), b[n:]
	}
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
		sum, carry = bits.Add64(sum, tail(all, len(b)), carry)
	}
	sum, carry = bits.Add64(sum, 0, carry)
	swapped := bits.ReverseBytes16(fold(sum + carry))
	return fold(uint64(swapped) + uint64(initial))
}

// vectors says that long buffers are summed up by sumVectors.
var vectors = hasVectors()

// tail returns the last n bytes of b, 1 to 7, as a little-endian word padded by
// zeros.
func tail(b []byte, n int) (word uint64) {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b[len(b)-8:]) >> (64 - 8*n)
	}
	for i, v := range b {
		word |= uint64(v) << (8 * i)
	}
	return word
}

// fold adds the four 16-bit parts of a sum until they fit into one. Added to
// what it is with its halves exchanged, a number has the sum of the halves,
// carry fed back, in the upper one.
func fold(sum uint64) uint16 {
	half := uint32((sum + bits.RotateLeft64(sum, 32)) >> 32)
	return uint16((half + bits.RotateLeft32(half, 16)) >> 16)
}

// pseudoHeader returns the sum of the pseudo-header (RFC 9293 §3.1, RFC 768,
// RFC 8200 §8.1) of the packet at l, for an upper layer of length bytes.
func pseudoHeader(frame []byte, l *Layout, length int) uint16 {
	sum := uint64(l.Proto) + uint64(length)
	if l.Version == 4 {
		addresses := binary.BigEndian.Uint64(frame[l.L3+12:])
		return fold(sum + addresses>>32 + addresses&0xffff_ffff)
	}
	addresses := frame[l.L3+8 : l.L3+ipv6HeaderLen]
	for i := 0; i < len(addresses); i += 4 {
		sum += uint64(binary.BigEndian.Uint32(addresses[i:]))
	}
	return fold(sum)
}

// sumIPv4 returns the sum of the IPv4 header at ip, which is 0xffff if its
// checksum is right.
func sumIPv4(ip []byte) uint16 {
	header := ip[:int(ip[0]&0x0f)*4]
	if len(header) > ipv4HeaderLen {
		return Checksum(header, 0)
	}
	return fold(uint64(binary.BigEndian.Uint32(header)) + uint64(binary.BigEndian.Uint32(header[4:])) +
		uint64(binary.BigEndian.Uint32(header[8:])) + uint64(binary.BigEndian.Uint32(header[12:])) +
		uint64(binary.BigEndian.Uint32(header[16:])))
}

// putIPv4Checksum fills in the header checksum of the IPv4 packet at ip.
func putIPv4Checksum(ip []byte) {
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^sumIPv4(ip))
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
