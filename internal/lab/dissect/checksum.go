//go:build linux

package dissect

import (
	"encoding/binary"
	"fmt"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
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
			sum = lab.OnesSum(l.Contents)
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
			sum = lab.OnesSum(l.Contents, l.Payload)
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
	return lab.OnesSum(addresses, rest, l.LayerContents(), l.LayerPayload())
}
