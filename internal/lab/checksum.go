//go:build linux

package lab

import (
	"encoding/binary"
	"os"
	"slices"
	"strconv"
	"strings"
)

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

// BadChecksums is how many packets of IPv4 the host refused for what they hold:
// their TCP, UDP or ICMP checksum is wrong.
func (h *Host) BadChecksums() (count uint64, err error) {
	var text []byte
	if err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	}); err != nil {
		return 0, err
	}
	var names []string // of the line before
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if i := slices.Index(names, "InCsumErrors"); i > 0 && fields[0] == names[0] && i < len(fields) {
			n, err := strconv.ParseUint(fields[i], 10, 64)
			if err != nil {
				return 0, err
			}
			count += n
		}
		names = fields
	}
	return count, nil
}
