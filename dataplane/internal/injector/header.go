package injector

import (
	"encoding/binary"

	"github.com/weftnet/weft/encap"
)

// HeaderLen is the size of the virtio-net header with the tunnel's part (struct
// virtio_net_hdr_v1_hash_tunnel, Linux 6.17), in the machine's byte order:
//
//	 0       1      2         4          6            8             10
//	+-------+------+---------+----------+------------+-------------+---------
//	| flags | type | hdr_len | gso_size | csum_start | csum_offset |  0 …
//	+-------+------+---------+----------+------------+-------------+---------
//	                       … 20                22               24
//	-------------------------+-----------------+-----------------+
//	                         | outer_th_offset | inner_nh_offset |
//	-------------------------+-----------------+-----------------+
const HeaderLen = 24

const (
	needsCsum     = 1 // flags: the inner checksum has to be completed
	udpTunnelCsum = 8 // and so has the outer one

	gsoTCP4       = 1
	gsoTCP6       = 4
	gsoUDPTunnel4 = 0x20 // or-ed in: by the outer IP version
	gsoUDPTunnel6 = 0x40

	etherHeaderLen = encap.EtherHeaderLen
	tcpCsumOffset  = 16
)

// Tunnel says what lies in front of an inner super-frame.
type Tunnel struct {
	IPv6   bool // outer
	Csum   bool // the outer UDP checksum field has the sum of the pseudo-header
	Header int  // bytes from the outer Ethernet header to the end of VXLAN's
}

// PutHeader writes to the start of b the header of a frame that consists of t
// and the inner TCP super-frame p, which has its headers at l.
func PutHeader(b []byte, t Tunnel, p *encap.Packet, l *encap.Layout) {
	b = b[:HeaderLen]
	clear(b)
	b[0], b[1] = needsCsum, gsoTCP4|gsoUDPTunnel4
	if t.Csum {
		b[0] |= udpTunnelCsum
	}
	if p.GSO.Type == encap.GSOTCP6 {
		b[1] = gsoTCP6 | gsoUDPTunnel4
	}
	if t.IPv6 {
		b[1] ^= gsoUDPTunnel4 | gsoUDPTunnel6
	}
	binary.NativeEndian.PutUint16(b[2:], uint16(t.Header+l.Payload))
	binary.NativeEndian.PutUint16(b[4:], p.GSO.Size)
	binary.NativeEndian.PutUint16(b[6:], uint16(t.Header+l.L4))
	binary.NativeEndian.PutUint16(b[8:], tcpCsumOffset)
	binary.NativeEndian.PutUint16(b[20:], uint16(t.Header-udpHeaderLen-encap.HeaderLen))
	binary.NativeEndian.PutUint16(b[22:], uint16(t.Header+l.L3))
}

const udpHeaderLen = 8

// PutEther writes the Ethernet header of a frame that is to leave by the
// underlay device with index ifIndex: the kernel puts another one in its place.
func (d *Device) PutEther(b []byte, ifIndex int, etherType uint16) {
	copy(b, d.MAC[:])
	b[6], b[7] = 2, 0 // an address of our own
	binary.NativeEndian.PutUint32(b[ifIndexAt:], uint32(ifIndex))
	binary.BigEndian.PutUint16(b[12:], etherType)
}

// ifIndexAt is where the program reads the index of the underlay device: in
// the source address, which nobody else looks at.
const ifIndexAt = 8
