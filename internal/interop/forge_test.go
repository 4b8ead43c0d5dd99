package interop

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// EtherTypes that frames here have.
const (
	typeIPv4  = 0x0800
	typeARP   = 0x0806
	typeVLAN  = 0x8100
	typeQinQ  = 0x88a8
	typeIPv6  = 0x86dd
	typeLocal = 0x88b5 // for local experiments (IEEE 802), nobody's
)

// inMAC is whom frames through a link are for: nobody, so nobody answers.
var inMAC = net.HardwareAddr{0x02, 0, 0, 0, 0xff, 0xff}

// markMAC is the source address of frame number mark, by which it is found
// again on the wire and behind it.
func markMAC(mark int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0, 0, 1, byte(mark >> 8), byte(mark)}
}

// ether puts an Ethernet header before a payload, and nothing behind it.
func ether(mark int, etherType uint16, payload []byte) []byte {
	frame := slices.Concat([]byte(inMAC), []byte(markMAC(mark)))
	return append(binary.BigEndian.AppendUint16(frame, etherType), payload...)
}

// readdressed is the frame with other MAC addresses; nil leaves one as it is.
func readdressed(frame []byte, dst, src net.HardwareAddr) []byte {
	frame = slices.Clone(frame)
	copy(frame, dst)
	copy(frame[6:], src)
	return frame
}

// tagged is the frame with a VLAN tag behind its addresses.
func tagged(frame []byte, tpid, tci uint16) []byte {
	tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tpid), tci)
	return slices.Insert(slices.Clone(frame), 12, tag...)
}

// inner is an IP packet for the inside of a link. The zero value of a field is
// the plain case.
type inner struct {
	v6               bool
	tos, ttl         uint8 // ttl 0 = 64
	df               bool
	tcp              bool // instead of UDP
	srcPort, dstPort uint16
	size             int // bytes behind the UDP or TCP header
	reply            bool
	fragment         uint16 // offset in bytes
	more             bool   // not the last fragment
}

// The ends of an inner flow; both are away from the links' own addresses.
var (
	flowEnds4 = [2]netip.Addr{netip.MustParseAddr("10.20.7.1"), netip.MustParseAddr("10.20.7.2")}
	flowEnds6 = [2]netip.Addr{netip.MustParseAddr("fd20:7::1"), netip.MustParseAddr("fd20:7::2")}
)

// frame is the packet in an Ethernet frame.
func (p inner) frame(t *testing.T, mark int) []byte {
	t.Helper()
	if p.v6 {
		return ether(mark, typeIPv6, p.packet(t))
	}
	return ether(mark, typeIPv4, p.packet(t))
}

// packet is the packet itself, its checksums complete.
func (p inner) packet(t *testing.T) []byte {
	t.Helper()
	if p.reply {
		p.srcPort, p.dstPort = p.dstPort, p.srcPort
	}
	ip := p.header()
	parts := []gopacket.SerializableLayer{ip.(gopacket.SerializableLayer)}
	if p.fragment == 0 {
		parts = append(parts, p.transport(ip))
	}
	parts = append(parts, gopacket.Payload(make([]byte, p.size)))
	buf := gopacket.NewSerializeBuffer()
	check(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
	if p.v6 && (p.fragment > 0 || p.more) {
		return p.fragment6(buf.Bytes())
	}
	return buf.Bytes()
}

func (p inner) header() gopacket.NetworkLayer {
	ends, ttl, proto := flowEnds4, p.ttl, layers.IPProtocolUDP
	if p.v6 {
		ends = flowEnds6
	}
	if p.reply {
		ends[0], ends[1] = ends[1], ends[0]
	}
	if ttl == 0 {
		ttl = 64
	}
	if p.tcp {
		proto = layers.IPProtocolTCP
	}
	src, dst := ends[0].AsSlice(), ends[1].AsSlice()
	if p.v6 {
		return &layers.IPv6{Version: 6, TrafficClass: p.tos, HopLimit: ttl, NextHeader: proto, SrcIP: src, DstIP: dst}
	}
	ip := &layers.IPv4{Version: 4, TOS: p.tos, TTL: ttl, Protocol: proto, SrcIP: src, DstIP: dst, Id: 7, FragOffset: p.fragment / 8}
	if p.df {
		ip.Flags |= layers.IPv4DontFragment
	}
	if p.more {
		ip.Flags |= layers.IPv4MoreFragments
	}
	return ip
}

func (p inner) transport(ip gopacket.NetworkLayer) gopacket.SerializableLayer {
	if p.tcp {
		tcp := &layers.TCP{SrcPort: layers.TCPPort(p.srcPort), DstPort: layers.TCPPort(p.dstPort), ACK: true, Window: 1000}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		return tcp
	}
	udp := &layers.UDP{SrcPort: layers.UDPPort(p.srcPort), DstPort: layers.UDPPort(p.dstPort)}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return udp
}

// fragment6 puts a fragment header (RFC 8200 §4.5) into an IPv6 packet.
func (p inner) fragment6(packet []byte) []byte {
	offset := p.fragment
	if p.more {
		offset |= 1
	}
	header := []byte{packet[6], 0, byte(offset >> 8), byte(offset), 0, 0, 0, 7}
	packet = slices.Insert(packet, 40, header...)
	packet[6] = byte(layers.IPProtocolIPv6Fragment)
	binary.BigEndian.PutUint16(packet[4:], uint16(len(packet)-40))
	return packet
}

// vxlan puts the header of RFC 7348 before a frame, written out here once more
// so that the tests do not trust the code that they test.
func vxlan(vni uint32, frame []byte) []byte {
	header := []byte{0x08, 0, 0, 0, byte(vni >> 16), byte(vni >> 8), byte(vni), 0}
	return append(header, frame...)
}
