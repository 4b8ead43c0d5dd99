package conformance

import (
	"bytes"
	"maps"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// carries finds the VXLAN datagrams to any port that hold a frame.
func carries(frame []byte) func(lab.Frame) bool {
	return func(f lab.Frame) bool { return len(f.Data) > len(frame) && bytes.HasSuffix(f.Data, frame) }
}

// sourceOf is the outer one.
func sourceOf(e *dissect.Encapsulated) netip.Addr {
	if e.IPv6 != nil {
		return netip.AddrFrom16([16]byte(e.IPv6.SrcIP))
	}
	return netip.AddrFrom4([4]byte(e.IPv4.SrcIP.To4()))
}

// dropped are weft's drops for the reasons that there were any for.
func (l *link) dropped(t *testing.T) map[string]uint64 {
	t.Helper()
	drops := l.drops(t)
	maps.DeleteFunc(drops, func(_ string, n uint64) bool { return n == 0 })
	return drops
}

// datagram is a UDP datagram in its Ethernet frame, for what sockets would not
// send.
func datagram(t *testing.T, to net.HardwareAddr, src, dst netip.AddrPort, payload []byte) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: mac("02:00:00:00:fe:01"), DstMAC: to, EthernetType: layers.EthernetTypeIPv4}
	udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	var ip interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	}
	ip = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
	if dst.Addr().Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
	}
	check(t, udp.SetNetworkLayerForChecksum(ip))
	return serialized(t, eth, ip, udp, gopacket.Payload(payload))
}
