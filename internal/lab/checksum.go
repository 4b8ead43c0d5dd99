//go:build linux

package lab

import "encoding/binary"

// OnesSum is the ones' complement sum (RFC 1071) of parts, all but the last of
// which have even lengths. It is 0xffff for what holds its right checksum.
func OnesSum(parts ...[]byte) uint16 {
	var sum uint64
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			sum += uint64(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint64(b[0]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
