package netconf

import (
	"fmt"
	"strings"
)

// Backend is how the packets of a network travel: *UDP, *VXLAN, *HostGW,
// *Alloc or *Extension.
type Backend interface {
	// Type is the name of the backend in the config, in lower case.
	Type() string
}

// UDP carries bare IP packets in UDP.
type UDP struct{ Port uint16 }

// VXLAN carries frames in VXLAN.
type VXLAN struct {
	VNI           uint32
	Port          uint16
	GBP           bool
	Learning      bool
	DirectRouting bool // route to peers on the same wire without encapsulation
	MTU           int  // of the underlay, from which the overhead is yet to go; 0 is that of the interface
}

// fits refuses what no device can be made with: its name has the VNI in it, and its
// MTU is what VXLAN leaves of the underlay's.
func (b *VXLAN) fits(ipv6 bool) error {
	const nameMax = 15                 // bytes (IFNAMSIZ, with a zero at the end)
	prefix, least := "flannel.", 68+50 // RFC 791 §3.2; the overhead over IPv4
	if ipv6 {
		prefix, least = "flannel-v6.", 1280+70 // RFC 8200 §5
	}
	if name := fmt.Sprint(prefix, b.VNI); len(name) > nameMax {
		return fmt.Errorf("VNI %d: the device %s would have a longer name than Linux allows, which is %d bytes; %s is the largest that fits",
			b.VNI, name, nameMax, strings.Repeat("9", nameMax-len(prefix)))
	}
	if b.MTU != 0 && b.MTU < least {
		return fmt.Errorf("MTU %d is that of the underlay, of which VXLAN leaves too little for IP: %d is the least", b.MTU, least)
	}
	return nil
}

// HostGW routes packets to the nodes, which are all on one wire.
type HostGW struct{}

// Alloc takes a subnet and leaves the packets to others.
type Alloc struct{}

// Extension runs commands when subnets come and go.
type Extension struct {
	PreStartup, PostStartup string
	SubnetAdd, SubnetRemove string
}

// The names of the backends in the config and, but for udp and alloc, in leases.
const (
	TypeUDP       = "udp"
	TypeVXLAN     = "vxlan"
	TypeHostGW    = "host-gw"
	TypeAlloc     = "alloc"
	TypeExtension = "extension"
)

// Type returns TypeUDP.
func (*UDP) Type() string { return TypeUDP }

// Type returns TypeVXLAN.
func (*VXLAN) Type() string { return TypeVXLAN }

// Type returns TypeHostGW.
func (*HostGW) Type() string { return TypeHostGW }

// Type returns TypeAlloc.
func (*Alloc) Type() string { return TypeAlloc }

// Type returns TypeExtension.
func (*Extension) Type() string { return TypeExtension }

// The ports where the config names none: flannel's own, and the one that the
// kernel's vxlan device takes, which is not the assigned 4789.
const (
	DefaultUDPPort   = 8285
	DefaultVXLANPort = 8472
)
