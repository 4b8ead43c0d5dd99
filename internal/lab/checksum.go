//go:build linux

package lab

import (
	"encoding/binary"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// VerifyChecksums adds up every IPv4, TCP, UDP and ICMP checksum of a packet,
// inner ones included where gopacket finds them, and returns an error for the
// first that is wrong. A UDP checksum of 0 is none. On a veth with offloads on
// checksums are unfinished, and wrong.
func VerifyChecksums(p gopacket.Packet) error {
	var addresses []byte // of the IP header last met
	for _, l := range p.Layers() {
		sum := uint16(0xffff)
		switch l := l.(type) {
		case *layers.IPv4:
			if l.Flags&layers.IPv4MoreFragments != 0 || l.FragOffset != 0 {
				return nil // a transport checksum spans all fragments
			}
			addresses = l.Contents[12:20]
			sum = onesSum(l.Contents)
		case *layers.IPv6:
			addresses = l.Contents[8:40]
		case *layers.UDP:
			if l.Checksum != 0 {
				sum = transportSum(addresses, layers.IPProtocolUDP, l)
			}
		case *layers.TCP:
			sum = transportSum(addresses, layers.IPProtocolTCP, l)
		case *layers.ICMPv6:
			sum = transportSum(addresses, layers.IPProtocolICMPv6, l)
		case *layers.ICMPv4:
			sum = onesSum(l.Contents, l.Payload)
		}
		if sum != 0xffff {
			return fmt.Errorf("%v checksum is off by %#04x", l.LayerType(), 0xffff-sum)
		}
	}
	return nil
}

// transportSum adds up a segment and its pseudo-header, in which the order of
// fields does not matter to the sum.
func transportSum(addresses []byte, proto layers.IPProtocol, l gopacket.Layer) uint16 {
	rest := binary.BigEndian.AppendUint32([]byte{0, byte(proto)}, uint32(len(l.LayerContents())+len(l.LayerPayload())))
	return onesSum(addresses, rest, l.LayerContents(), l.LayerPayload())
}

// onesSum is the ones' complement sum (RFC 1071) of parts, all but the last of
// which have even lengths. It is 0xffff for what holds its right checksum.
func onesSum(parts ...[]byte) uint16 {
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
