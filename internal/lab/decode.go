//go:build linux

package lab

import (
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Packet decodes a frame, each layer when it is asked for.
func (f Frame) Packet() gopacket.Packet {
	link := f.link
	if link == 0 {
		link = layers.LinkTypeEthernet
	}
	return gopacket.NewPacket(f.Data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
}

// Encapsulated is one VXLAN datagram, taken apart.
type Encapsulated struct {
	Frame  Frame
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
func DecodeVXLAN(f Frame, port uint16) (*Encapsulated, bool) {
	e := &Encapsulated{Frame: f, Outer: f.Packet()}
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
func VXLANs(frames []Frame, port uint16) []*Encapsulated {
	var found []*Encapsulated
	for _, f := range frames {
		if e, ok := DecodeVXLAN(f, port); ok {
			found = append(found, e)
		}
	}
	return found
}
