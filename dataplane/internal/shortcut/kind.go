package shortcut

import "github.com/weftnet/weft/encap"

// Kind is what a link's device carries, and what is put around it.
type Kind uint8

// The kinds.
const (
	Framed Kind = iota // Ethernet frames, in VXLAN
	Routed             // IP packets, which get an Ethernet header, in VXLAN
	Bare               // IP packets, as they are in UDP
	kinds
)

// head is the bytes of the Ethernet header that the device's frames have.
func (k Kind) head() int16 {
	if k == Framed {
		return encap.EtherHeaderLen
	}
	return 0
}

// over is what lies between the outer IP header and the inner one, in bytes.
func (k Kind) over() int32 {
	if k == Bare {
		return udpLen
	}
	return udpLen + encap.HeaderLen + encap.EtherHeaderLen
}

// outerLen is what is put in front of an inner packet over IPv4, in bytes.
func (k Kind) outerLen() int32 { return encap.EtherHeaderLen + 20 + k.over() }

const udpLen = 8 // bytes
