package netconf

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
