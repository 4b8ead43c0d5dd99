package dataplane

import (
	"net/netip"
)

// LinkConfig describes one link in the words of `ip link add … type vxlan`;
// defaults are the kernel's. The zero value of each field is the
// kernel's default unless the comment says otherwise, so a LinkConfig can
// travel as JSON and be completed by AddLink.
type LinkConfig struct {
	Name    string     `json:"name"`              // device name, 1 to 15 bytes
	Address string     `json:"address,omitempty"` // MAC in colon form; "" = random, locally administered
	MTU     int        `json:"mtu,omitempty"`     // bytes of inner IP packet; 0 = lower device less the overhead
	Type    LinkType   `json:"type,omitempty"`    // "" = TypeVXLAN
	L3      bool       `json:"l3,omitempty"`      // of TypeVXLAN: the device carries IP packets, and Address is the link's own
	VNI     uint32     `json:"vni"`               // 0 to 16777215; 0 of TypeUDP
	Remote  netip.Addr `json:"remote,omitzero"`   // where frames without an FDB entry go: a host, or a group joined while the device is up; the zero Addr = nowhere
	Local   netip.Addr `json:"local,omitzero"`    // outer source; the zero Addr = what the route says
	Dev     string     `json:"dev,omitempty"`     // underlay device: output interface and MTU; "" = what the route says
	Port    uint16     `json:"port"`              // UDP port listened on and sent to; never 0 here

	// SrcPortLow and SrcPortHigh bound the outer source ports, half open
	// [low, high) as in the kernel; both 0 or equal = ip_local_port_range.
	SrcPortLow  uint16 `json:"src_port_low,omitempty"`
	SrcPortHigh uint16 `json:"src_port_high,omitempty"`

	TTL       uint8    `json:"ttl,omitempty"` // outer TTL or hop limit; 0 = auto, the route's hop limit
	TTLCopy   bool     `json:"ttl_inherit,omitempty"`
	TOS       uint8    `json:"tos,omitempty"` // outer DSCP (ECN bits always come from the inner packet)
	TOSCopy   bool     `json:"tos_inherit,omitempty"`
	DF        DFMode   `json:"df,omitempty"`
	FlowLabel uint32   `json:"flow_label,omitempty"` // outer IPv6 flow label, 20 bits
	Checksum  Checksum `json:"checksum,omitzero"`
	NoOffload bool     `json:"no_offload,omitempty"` // `offload off`: no virtio-net header, no UDP_SEGMENT, no UDP_GRO use

	NoLearning bool   `json:"nolearning,omitempty"`  // do not learn which VTEP a source MAC is behind
	Ageing     uint32 `json:"ageing,omitempty"`      // lifetime of a learnt entry without receipt, in seconds; 0 = 300
	MaxAddress uint32 `json:"max_address,omitempty"` // FDB entries at most; 0 = no limit
	Proxy      bool   `json:"proxy,omitempty"`       // answer ARP and neighbour solicitations from the device's neighbour table
	L2Miss     bool   `json:"l2miss,omitempty"`      // tell of destinations without an FDB entry
	L3Miss     bool   `json:"l3miss,omitempty"`      // with Proxy: tell of addresses without a neighbour entry

	// What RFC 7348 wants otherwise than the kernel's device does it, and a
	// guard that neither has. Profile is a name to show; it does nothing here.
	Profile        string         `json:"profile,omitempty"`
	IgnoreReserved bool           `json:"ignore_reserved,omitempty"` // accept set reserved bits (RFC 7348 §5)
	DropVLAN       bool           `json:"drop_vlan,omitempty"`       // drop frames with a VLAN tag, both ways (RFC 7348 §6)
	AllowSources   []netip.Prefix `json:"allow_sources,omitempty"`   // outer sources that are listened to; none = all
}

// LinkType says what a link's datagrams are.
type LinkType string

// The types of links.
const (
	TypeVXLAN LinkType = "vxlan" // RFC 7348: Ethernet frames behind a VXLAN header
	TypeUDP   LinkType = "udp"   // flannel's udp backend: IP packets and nothing else
)

// Bare reports whether datagrams are IP packets without anything in front.
func (c *LinkConfig) Bare() bool { return c.Type == TypeUDP }

// Routed reports whether the device carries IP packets, which the link's routes
// say the way of. Otherwise it carries frames, and the FDB does.
func (c *LinkConfig) Routed() bool { return c.L3 || c.Bare() }

// DefaultAgeing is how many seconds a learnt entry lives without receipt.
const DefaultAgeing = 300

// Checksum holds the kernel's three outer checksum words. The zero value is
// the kernel's default: computed on transmit, demanded on IPv6 receive.
type Checksum struct {
	NoUDP     bool `json:"noudpcsum,omitempty"`      // `noudpcsum`: send UDP over IPv4 with checksum 0
	UDP       bool `json:"udpcsum,omitempty"`        // `udpcsum`: never do, not even where a shortcut cannot do otherwise
	ZeroTx6   bool `json:"udp6zerocsumtx,omitempty"` // send UDP over IPv6 with checksum 0
	AcceptRx6 bool `json:"udp6zerocsumrx,omitempty"` // accept checksum 0 over IPv6
}

// DFMode says what the outer IPv4 header's DF bit is. IPv6 never fragments.
type DFMode string

// The three words that `df` takes. The empty DFMode means DFUnset.
const (
	DFUnset   DFMode = "unset"   // DF clear: the underlay may fragment
	DFSet     DFMode = "set"     // DF set on every packet
	DFInherit DFMode = "inherit" // DF as the inner IPv4 header has it; set for inner IPv6
)

// Group returns the multicast group that the link is a member of, if its
// remote is one.
func (c *LinkConfig) Group() (group netip.Addr, ok bool) {
	return c.Remote, c.Remote.IsMulticast()
}

// MaxVNI is the largest VXLAN network identifier (24 bits, RFC 7348 §5).
const MaxVNI = 1<<24 - 1

// IPv6 reports whether the link's underlay is IPv6: as in the kernel, the
// family of remote or local, and IPv4 when neither is given.
func (c *LinkConfig) IPv6() bool {
	return c.Remote.Is6() && !c.Remote.Is4In6() || c.Local.Is6() && !c.Local.Is4In6()
}
