//go:build !portable

package shortcut

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// flow is what all frames of one have in common.
type flow struct {
	kind               Kind
	srcMAC, dstMAC     [6]byte
	src, dst           netip.Addr
	tcp                bool
	srcPort, dstPort   uint16
	tos, ttl           uint8 // without the ECN bits
	df                 bool
	label              uint32 // of IPv6
	outer4             bool
	from, to           netip.Addr // outer
	outerPort          uint16     // source
	outerTOS, outerTTL uint8
	vni                uint32
	noCsum             bool
}

func randomAddr(r *rand.Rand, v4 bool) netip.Addr {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if v4 {
		b[0] = 10
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	b[0] = 0xfd
	return netip.AddrFrom16(b)
}

func randomFlow(r *rand.Rand) *flow {
	v4, coin := r.IntN(2) == 0, func() bool { return r.IntN(2) == 0 }
	f := &flow{
		src: randomAddr(r, v4), dst: randomAddr(r, v4), tcp: coin(), df: coin(),
		srcPort: uint16(r.Uint32()), dstPort: uint16(r.Uint32()), tos: uint8(r.Uint32()) &^ 3, ttl: uint8(1 + r.IntN(255)), label: r.Uint32N(1 << 20),
		outer4: coin(), outerPort: uint16(r.Uint32()), outerTOS: uint8(r.Uint32()) &^ 3, outerTTL: uint8(1 + r.IntN(255)), vni: r.Uint32N(1 << 24),
		noCsum: r.IntN(8) == 0,
	}
	binary.BigEndian.PutUint32(f.srcMAC[2:], r.Uint32())
	binary.BigEndian.PutUint32(f.dstMAC[2:], r.Uint32())
	return f
}

// serialize puts what is behind an Ethernet header there, without the padding
// of gopacket.
func serialize(t *testing.T, eth *layers.Ethernet, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	head, rest := gopacket.NewSerializeBuffer(), gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	check(t, gopacket.SerializeLayers(rest, options, parts...))
	check(t, gopacket.SerializeLayers(head, options, eth))
	return slices.Concat(head.Bytes()[:14], rest.Bytes())
}

func network4(src, dst netip.Addr, tos, ttl uint8) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TOS: tos, TTL: ttl, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

func network6(src, dst netip.Addr, tos, ttl uint8) *layers.IPv6 {
	return &layers.IPv6{Version: 6, TrafficClass: tos, HopLimit: ttl, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

// frame is one of the flow's, all its checksums complete.
func (f *flow) frame(t *testing.T, ecn uint8, payload []byte) []byte {
	t.Helper()
	proto := layers.IPProtocolUDP
	if f.tcp {
		proto = layers.IPProtocolTCP
	}
	eth := &layers.Ethernet{SrcMAC: f.srcMAC[:], DstMAC: f.dstMAC[:], EthernetType: layers.EthernetTypeIPv4}
	if f.src.Is4() {
		ip := network4(f.src, f.dst, f.tos|ecn, f.ttl)
		ip.Protocol, ip.Id = proto, uint16(len(payload))
		if f.df {
			ip.Flags = layers.IPv4DontFragment
		}
		return serialize(t, eth, ip, f.transport(t, ip), gopacket.Payload(payload))
	}
	ip := network6(f.src, f.dst, f.tos|ecn, f.ttl)
	eth.EthernetType, ip.NextHeader, ip.FlowLabel = layers.EthernetTypeIPv6, proto, f.label
	return serialize(t, eth, ip, f.transport(t, ip), gopacket.Payload(payload))
}

// given is the frame as Send has it.
func (f *flow) given(frame []byte) []byte {
	if f.kind == Bare {
		return frame[14:]
	}
	return frame
}

func (f *flow) transport(t *testing.T, ip gopacket.NetworkLayer) gopacket.SerializableLayer {
	t.Helper()
	if f.tcp {
		tcp := &layers.TCP{SrcPort: layers.TCPPort(f.srcPort), DstPort: layers.TCPPort(f.dstPort), ACK: true, PSH: true, Seq: uint32(f.srcPort), Window: 7}
		check(t, tcp.SetNetworkLayerForChecksum(ip))
		return tcp
	}
	udp := &layers.UDP{SrcPort: layers.UDPPort(f.srcPort), DstPort: layers.UDPPort(f.dstPort)}
	check(t, udp.SetNetworkLayerForChecksum(ip))
	return udp
}

// outer is the headers around an empty frame, as Send wants them: without
// Ethernet addresses, and with a UDP checksum that nobody is to look at.
func (f *flow) outer(t *testing.T, ecn uint8) []byte {
	t.Helper()
	udp := &layers.UDP{SrcPort: layers.UDPPort(f.outerPort), DstPort: 4789}
	parts := []gopacket.SerializableLayer{udp, &layers.VXLAN{ValidIDFlag: true, VNI: f.vni}}
	if f.kind == Bare {
		parts = parts[:1]
	}
	eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	if f.outer4 {
		ip := network4(f.from, f.to, f.outerTOS|ecn, f.outerTTL)
		check(t, udp.SetNetworkLayerForChecksum(ip))
		return serialize(t, eth, append([]gopacket.SerializableLayer{ip}, parts...)...)
	}
	eth.EthernetType = layers.EthernetTypeIPv6
	ip := network6(f.from, f.to, f.outerTOS|ecn, f.outerTTL)
	ip.FlowLabel = f.label ^ 0xfffff
	check(t, udp.SetNetworkLayerForChecksum(ip))
	return serialize(t, eth, append([]gopacket.SerializableLayer{ip}, parts...)...)
}
