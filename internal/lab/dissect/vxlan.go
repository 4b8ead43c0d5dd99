//go:build linux

// Package dissect takes what the lab captured apart with gopacket, which is
// the tests' oracle. It is apart from the lab because gopacket's tables cost
// each program that links them 7.5 MB of memory and 4 ms at its start, used or
// not, and `weft bench` links the lab.
package dissect

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
)

// Packet decodes a frame, each layer when it is asked for.
func Packet(f lab.Frame) gopacket.Packet {
	return gopacket.NewPacket(f.Data, linkType(f), gopacket.DecodeOptions{Lazy: true, NoCopy: true})
}

func linkType(f lab.Frame) layers.LinkType {
	if f.NoLink {
		return layers.LinkTypeRaw
	}
	return layers.LinkTypeEthernet
}

// Encapsulated is one VXLAN datagram, taken apart.
type Encapsulated struct {
	Frame  lab.Frame
	Outer  gopacket.Packet // as far as UDP
	IPv4   *layers.IPv4    // outer; nil over IPv6
	IPv6   *layers.IPv6    // outer; nil over IPv4
	UDP    *layers.UDP     // outer
	Header []byte          // the eight bytes of VXLAN
	VXLAN  *layers.VXLAN
	Inner  gopacket.Packet // from the inner Ethernet header
}

// DecodeVXLAN takes a frame apart if it is a whole VXLAN datagram to a UDP
// port. gopacket by itself looks for VXLAN on port 4789 only.
func DecodeVXLAN(f lab.Frame, port uint16) (*Encapsulated, bool) {
	e := &Encapsulated{Frame: f, Outer: Packet(f)}
	ip := e.Outer.NetworkLayer() // the first: gopacket goes on into the inner frame on port 4789
	e.IPv4, _ = ip.(*layers.IPv4)
	e.IPv6, _ = ip.(*layers.IPv6)
	e.UDP, _ = e.Outer.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if e.UDP == nil || uint16(e.UDP.DstPort) != port || len(e.UDP.Payload) < vxlanHeaderLen {
		return nil, false
	}
	options := gopacket.DecodeOptions{Lazy: true, NoCopy: true}
	payload := gopacket.NewPacket(e.UDP.Payload, layers.LayerTypeVXLAN, options)
	e.VXLAN, _ = payload.Layer(layers.LayerTypeVXLAN).(*layers.VXLAN)
	if e.VXLAN == nil {
		return nil, false
	}
	e.Header = e.UDP.Payload[:vxlanHeaderLen]
	e.Inner = gopacket.NewPacket(e.UDP.Payload[vxlanHeaderLen:], layers.LayerTypeEthernet, options)
	return e, true
}

const vxlanHeaderLen = 8

// VXLANs takes apart those frames that are VXLAN datagrams to a UDP port.
func VXLANs(frames []lab.Frame, port uint16) []*Encapsulated {
	var found []*Encapsulated
	for _, f := range frames {
		if e, ok := DecodeVXLAN(f, port); ok {
			found = append(found, e)
		}
	}
	return found
}
