package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// broadcast is everyone's address.
var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// typeLocal is an EtherType for local experiments (IEEE 802), nobody's.
const typeLocal = 0x88b5

// mac reads a MAC address.
func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// macOf is the address of a device.
func macOf(t *testing.T, h *lab.Host, dev string) net.HardwareAddr {
	t.Helper()
	return must(h.Device(dev))(t).MAC
}

// ether puts an Ethernet header before a payload.
func ether(dst, src net.HardwareAddr, etherType uint16, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(slices.Concat(dst, src), etherType), payload...)
}

// echo is an echo request, of either family, by the id that it bears.
type echo struct {
	srcMAC, dstMAC net.HardwareAddr
	src, dst       netip.Addr
	tos            uint8
	id             uint16
}

// frame is the request in its Ethernet frame.
func (e *echo) frame(t *testing.T) []byte {
	t.Helper()
	payload := gopacket.Payload(append(echoMark(e.id), make([]byte, 40)...))
	eth := &layers.Ethernet{SrcMAC: e.srcMAC, DstMAC: e.dstMAC, EthernetType: layers.EthernetTypeIPv4}
	if e.dst.Is4() {
		ip := &layers.IPv4{Version: 4, TOS: e.tos, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: e.src.AsSlice(), DstIP: e.dst.AsSlice()}
		return serialized(t, eth, ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: e.id}, payload)
	}
	eth.EthernetType = layers.EthernetTypeIPv6
	ip := &layers.IPv6{Version: 6, TrafficClass: e.tos, HopLimit: 64, NextHeader: layers.IPProtocolICMPv6, SrcIP: e.src.AsSlice(), DstIP: e.dst.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}
	check(t, icmp.SetNetworkLayerForChecksum(ip))
	return serialized(t, eth, ip, icmp, &layers.ICMPv6Echo{Identifier: e.id}, payload)
}

func serialized(t *testing.T, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	check(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
	return buf.Bytes()
}

// vxlan puts the header of RFC 7348 before a frame, written out here once more
// so that the tests do not trust the code that they test.
func vxlan(vni uint32, frame []byte) []byte {
	header := []byte{0x08, 0, 0, 0, byte(vni >> 16), byte(vni >> 8), byte(vni), 0}
	return append(header, frame...)
}

// echoMark begins the payload of such a request; the id alone a ping may have.
func echoMark(id uint16) []byte { return fmt.Appendf(nil, "conformance %05d", id) }

// isEcho holds for requests with an id, and a TOS if that is given.
func isEcho(id uint16, tos ...uint8) func(lab.Frame) bool {
	mark := echoMark(id)
	return func(f lab.Frame) bool {
		if !bytes.Contains(f.Data, mark) {
			return false
		}
		p := dissect.Packet(f)
		return isRequest(p) && (len(tos) == 0 || tosOf(p) == int(tos[0]))
	}
}

// isRequest tells an echo request from its reply and all else.
func isRequest(p gopacket.Packet) bool {
	if icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return icmp.TypeCode.Type() == layers.ICMPv4TypeEchoRequest
	}
	icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	return ok && icmp.TypeCode.Type() == layers.ICMPv6TypeEchoRequest
}

// tosOf is the TOS or traffic class of a packet, -1 without IP.
func tosOf(p gopacket.Packet) int {
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		return int(ip.TOS)
	case *layers.IPv6:
		return int(ip.TrafficClass)
	}
	return -1
}
