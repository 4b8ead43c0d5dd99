package tap

import (
	"encoding/binary"

	"github.com/weftnet/weft/encap"
)

// The virtio-net header (virtio 1.2 §5.1.6) in front of each frame, in the
// machine's byte order:
//
//	 0        1        2          4          6            8             10
//	+--------+--------+----------+----------+------------+-------------+
//	| flags  | type   | hdr_len  | gso_size | csum_start | csum_offset |
//	+--------+--------+----------+----------+------------+-------------+
const (
	virtioHeaderLen = 10

	needsCsum = 1 // flags: the checksum has to be completed

	gsoNone = 0
	gsoTCP4 = 1
	gsoTCP6 = 4
	gsoUDP  = 5
	gsoECN  = 0x80 // or-ed in: a TCP super-frame with CWR
)

// getGSO reads the header at the start of b. hdr_len is left alone: on
// forwarded packets it is whatever lay in the first part of the socket buffer.
func getGSO(b []byte) (gso encap.GSO) {
	gso.NeedsCsum = b[0]&needsCsum != 0
	switch b[1] &^ gsoECN {
	case gsoTCP4:
		gso.Type = encap.GSOTCP4
	case gsoTCP6:
		gso.Type = encap.GSOTCP6
	case gsoUDP:
		gso.Type = encap.GSOUDP
	}
	gso.Size = binary.NativeEndian.Uint16(b[4:])
	gso.CsumStart = binary.NativeEndian.Uint16(b[6:])
	gso.CsumOffset = binary.NativeEndian.Uint16(b[8:])
	return gso
}

// putGSO writes the header to the start of b.
func putGSO(b []byte, gso *encap.GSO) {
	b[0], b[1] = 0, gsoNone
	if gso.NeedsCsum {
		b[0] = needsCsum
	}
	switch gso.Type {
	case encap.GSOTCP4:
		b[1] = gsoTCP4
	case encap.GSOTCP6:
		b[1] = gsoTCP6
	case encap.GSOUDP:
		b[1] = gsoUDP
	}
	binary.NativeEndian.PutUint16(b[2:], gso.HeaderLen)
	binary.NativeEndian.PutUint16(b[4:], gso.Size)
	binary.NativeEndian.PutUint16(b[6:], gso.CsumStart)
	binary.NativeEndian.PutUint16(b[8:], gso.CsumOffset)
}
