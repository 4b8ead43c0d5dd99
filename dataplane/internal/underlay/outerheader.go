package underlay

import (
	"encoding/binary"
	"net/netip"

	"github.com/weftnet/weft/encap"
)

// Sizes of outer headers.
const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	udpHeaderLen  = 8
	outerLen4     = encap.EtherHeaderLen + ipv4HeaderLen + udpHeaderLen + encap.HeaderLen
	outerLen6     = encap.EtherHeaderLen + ipv6HeaderLen + udpHeaderLen + encap.HeaderLen

	protoUDP      = 17
	etherIPv4     = 0x0800
	etherIPv6     = 0x86dd
	dontFragment  = 0x4000
	maxIPv4Packet = 65535 // and so for what follows an IPv6 header
)

// outerHeader is what the kernel would write in front of a VXLAN datagram that
// a socket sends, from IP to VXLAN.
type outerHeader struct {
	*Outer
	via  *Via
	port uint16 // source
	id   uint16 // IPv4 identification
	vni  uint32
	size int // of the inner frame
}

func (h *outerHeader) source() netip.Addr {
	if h.Local.IsValid() {
		return h.Local
	}
	return h.via.Source
}

func (h *outerHeader) hopLimit() uint8 {
	if h.TTL != 0 {
		return h.TTL
	}
	return h.via.HopLimit
}

// put4 writes the headers over IPv4 to b.
func (h *outerHeader) put4(b []byte) {
	ip := b[:ipv4HeaderLen]
	clear(ip)
	ip[0], ip[1] = 0x45, h.TOS
	binary.BigEndian.PutUint16(ip[2:], uint16(ipv4HeaderLen+udpHeaderLen+encap.HeaderLen+h.size))
	binary.BigEndian.PutUint16(ip[4:], h.id)
	if h.DF {
		binary.BigEndian.PutUint16(ip[6:], dontFragment)
	}
	ip[8], ip[9] = h.hopLimit(), protoUDP
	src, dst := h.source().As4(), h.Remote.Addr().As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], ^encap.Checksum(ip, 0))
	h.putUDP(b[ipv4HeaderLen:], ip[12:20])
}

// put6 does so over IPv6.
func (h *outerHeader) put6(b []byte) {
	ip := b[:ipv6HeaderLen]
	binary.BigEndian.PutUint32(ip, 6<<28|uint32(h.TOS)<<20|h.FlowLabel)
	binary.BigEndian.PutUint16(ip[4:], uint16(udpHeaderLen+encap.HeaderLen+h.size))
	ip[6], ip[7] = protoUDP, h.hopLimit()
	src, dst := h.source().As16(), h.Remote.Addr().As16()
	copy(ip[8:], src[:])
	copy(ip[24:], dst[:])
	h.putUDP(b[ipv6HeaderLen:], ip[8:40])
}

// putUDP writes UDP and VXLAN. The checksum is that of the pseudo-header, folded
// and not complemented, for the device to complete.
func (h *outerHeader) putUDP(b, addresses []byte) {
	length := udpHeaderLen + encap.HeaderLen + h.size
	binary.BigEndian.PutUint16(b, h.port)
	binary.BigEndian.PutUint16(b[2:], h.Remote.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	sum := uint16(0)
	if !h.NoCsum {
		rest := [4]byte{0, protoUDP, byte(length >> 8), byte(length)}
		sum = encap.Checksum(addresses, encap.Checksum(rest[:], 0))
	}
	binary.BigEndian.PutUint16(b[6:], sum)
	encap.PutHeader(b[udpHeaderLen:], h.vni)
}

// Headers returns what is in front of an empty frame of a flow, from Ethernet,
// whose addresses are not known, to VXLAN, or to UDP around bare packets; without a
// UDP checksum.
func Headers(f *Flow, via *Via, vni uint32) []byte {
	outer := f.Outer
	outer.NoCsum = true
	h := outerHeader{Outer: &outer, via: via, port: f.Socket.port, vni: vni}
	b := make([]byte, outerLen4, outerLen6)
	etherType := uint16(etherIPv4)
	if f.Socket.ipv6 {
		b, etherType = b[:outerLen6], etherIPv6
	}
	binary.BigEndian.PutUint16(b[12:], etherType)
	if f.Socket.ipv6 {
		h.put6(b[encap.EtherHeaderLen:])
	} else {
		h.put4(b[encap.EtherHeaderLen:])
	}
	if f.Bare {
		b = b[:len(b)-encap.HeaderLen]
	}
	return b
}
