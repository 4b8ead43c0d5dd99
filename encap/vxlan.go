package encap

import (
	"encoding/binary"
	"errors"
)

// HeaderLen is the length of a VXLAN header in bytes.
const HeaderLen = 8

// What a datagram or frame can have wrong. The dataplane counts each under a
// reason of its own.
var (
	ErrShortHeader = errors.New("encap: datagram is shorter than a VXLAN header")
	ErrNoVNIFlag   = errors.New("encap: VXLAN I flag is clear, so there is no valid VNI")
	ErrShortFrame  = errors.New("encap: less than an Ethernet header behind the VXLAN header")
	ErrBadLength   = errors.New("encap: inner IP packet is shorter than its fixed header")
	ErrECN         = errors.New("encap: congestion mark outside, inner packet not ECN-capable")
)

// The VXLAN header (RFC 7348 §5). R bits and both reserved fields are zero on
// transmit.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-+-+-+-+-----------------------------------------------+
//	|R|R|R|R|I|R|R|R|                   Reserved                    |
//	+-+-+-+-+-+-+-+-+-----------------------------------------------+
//	|            VXLAN Network Identifier (VNI)     |   Reserved    |
//	+-----------------------------------------------+---------------+
const (
	vniFlag  = 0x0800_0000 // the I bit in the first word
	vniShift = 8           // the VNI is the upper 24 bits of the second word
)

// Header is a received VXLAN header.
type Header struct {
	VNI      uint32 // 24 bits
	Reserved bool   // a bit other than I and the VNI is set
}

// PutHeader writes the header for vni (24 bits) into the first 8 bytes of b.
func PutHeader(b []byte, vni uint32) {
	_ = b[HeaderLen-1]
	binary.BigEndian.PutUint32(b, vniFlag)
	binary.BigEndian.PutUint32(b[4:], vni<<vniShift)
}

// ParseHeader reads the header at the start of datagram. It returns
// ErrShortHeader or ErrNoVNIFlag where the kernel's device would not even look
// for a VNI; reserved bits are the caller's decision (RFC 7348 has them
// ignored, the kernel refuses them after it has found the VNI).
func ParseHeader(datagram []byte) (Header, error) {
	if len(datagram) < HeaderLen {
		return Header{}, ErrShortHeader
	}
	flags := binary.BigEndian.Uint32(datagram)
	if flags&vniFlag == 0 {
		return Header{}, ErrNoVNIFlag
	}
	second := binary.BigEndian.Uint32(datagram[4:])
	return Header{
		VNI:      second >> vniShift,
		Reserved: flags != vniFlag || second&0xff != 0,
	}, nil
}
