//go:build linux

package lab

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// VXLAN describes a vxlan device of the kernel. The zero value of a field
// leaves the kernel's default, as leaving its word out of `ip link add` does.
type VXLAN struct {
	Name    string
	ID      uint32
	Remote  netip.Addr // a peer, or a multicast group
	Local   netip.Addr
	Dev     string // underlay device
	Port    uint16 // 0 = 8472
	Address net.HardwareAddr
	MTU     int

	SrcPortLow, SrcPortHigh uint16 // half open: [low, high)

	TTL        uint8
	TTLInherit bool
	TOS        uint8 // 1 = inherit
	DF         DF
	FlowLabel  uint32

	NoLearning bool
	Learning   bool   // said outright, for ChangeKernelVXLAN
	Ageing     uint32 // seconds
	MaxAddress uint32

	Proxy, RSC, L2Miss, L3Miss bool

	NoUDPCSum      bool // noudpcsum
	UDP6ZeroCSumTx bool
	UDP6ZeroCSumRx bool
	NoLocalBypass  bool

	AllowReservedBits bool // reserved_bits 0, since Linux 6.14
}

// DF is the vxlan device's mode for the outer IPv4 DF bit, by the kernel's numbers.
type DF uint8

// The three modes.
const (
	DFUnset DF = iota
	DFSet
	DFInherit
)

// AddKernelVXLAN makes the device as RTM_NEWLINK describes it. It is down and
// has no address.
func (h *Host) AddKernelVXLAN(v VXLAN) error {
	return h.sendVXLAN(&v, unix.NLM_F_CREATE|unix.NLM_F_EXCL, "adding")
}

// ChangeKernelVXLAN does what `ip link set dev NAME type vxlan …` does with the
// fields that are not zero: the device keeps the rest.
func (h *Host) ChangeKernelVXLAN(v VXLAN) error { return h.sendVXLAN(&v, 0, "changing") }

func (h *Host) sendVXLAN(v *VXLAN, flags int, what string) error {
	lower := 0
	if v.Dev != "" {
		link, err := h.link(v.Dev)
		if err != nil {
			return err
		}
		lower = link.Attrs().Index
	}
	return h.execute(v.request(lower, flags), what+" vxlan device "+v.Name)
}

// request is written by hand because netlink.Vxlan knows neither DF nor TTL
// inheritance nor the flow label, and always sends learning and TTL.
func (v *VXLAN) request(lower, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, flags|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(v.Name)))
	if v.Address != nil {
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, v.Address))
	}
	if v.MTU != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(v.MTU))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("vxlan"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	if flags&unix.NLM_F_CREATE != 0 { // 0 is a VNI too, and none may change
		data.AddRtAttr(unix.IFLA_VXLAN_ID, nl.Uint32Attr(v.ID))
	}
	v.addresses(data)
	v.numbers(data, lower)
	v.switches(data)
	req.AddData(info)
	return req
}

// iflaVXLANReservedBits is not in golang.org/x/sys/unix.
const iflaVXLANReservedBits = 33

func (v *VXLAN) addresses(data *nl.RtAttr) {
	for _, a := range []struct {
		addr   netip.Addr
		v4, v6 int
	}{
		{v.Remote, unix.IFLA_VXLAN_GROUP, unix.IFLA_VXLAN_GROUP6},
		{v.Local, unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_LOCAL6},
	} {
		switch {
		case a.addr.Is4():
			data.AddRtAttr(a.v4, a.addr.AsSlice())
		case a.addr.Is6():
			data.AddRtAttr(a.v6, a.addr.AsSlice())
		}
	}
}

func (v *VXLAN) numbers(data *nl.RtAttr, lower int) {
	if v.Port != 0 {
		data.AddRtAttr(unix.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, v.Port))
	}
	if v.SrcPortLow != 0 || v.SrcPortHigh != 0 {
		low := binary.BigEndian.AppendUint16(nil, v.SrcPortLow)
		data.AddRtAttr(unix.IFLA_VXLAN_PORT_RANGE, binary.BigEndian.AppendUint16(low, v.SrcPortHigh))
	}
	if v.FlowLabel != 0 {
		data.AddRtAttr(unix.IFLA_VXLAN_LABEL, binary.BigEndian.AppendUint32(nil, v.FlowLabel))
	}
	addUint32(data, unix.IFLA_VXLAN_LINK, uint32(lower))
	addUint32(data, unix.IFLA_VXLAN_AGEING, v.Ageing)
	addUint32(data, unix.IFLA_VXLAN_LIMIT, v.MaxAddress)
	addUint8(data, unix.IFLA_VXLAN_TTL, v.TTL)
	addUint8(data, unix.IFLA_VXLAN_TOS, v.TOS)
	addUint8(data, unix.IFLA_VXLAN_DF, uint8(v.DF))
}

func (v *VXLAN) switches(data *nl.RtAttr) {
	for _, s := range []struct {
		set   bool
		attr  int
		value uint8
	}{
		{v.NoLearning, unix.IFLA_VXLAN_LEARNING, 0},
		{v.Learning, unix.IFLA_VXLAN_LEARNING, 1},
		{v.Proxy, unix.IFLA_VXLAN_PROXY, 1},
		{v.RSC, unix.IFLA_VXLAN_RSC, 1},
		{v.L2Miss, unix.IFLA_VXLAN_L2MISS, 1},
		{v.L3Miss, unix.IFLA_VXLAN_L3MISS, 1},
		{v.NoUDPCSum, unix.IFLA_VXLAN_UDP_CSUM, 0},
		{v.NoLocalBypass, unix.IFLA_VXLAN_LOCALBYPASS, 0},
		{v.UDP6ZeroCSumTx, unix.IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 1},
		{v.UDP6ZeroCSumRx, unix.IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1},
	} {
		if s.set {
			data.AddRtAttr(s.attr, nl.Uint8Attr(s.value))
		}
	}
	if v.AllowReservedBits {
		data.AddRtAttr(iflaVXLANReservedBits, make([]byte, 8))
	}
	if v.TTLInherit {
		data.AddRtAttr(unix.IFLA_VXLAN_TTL_INHERIT, nil) // a flag, by its presence
	}
}

func addUint32(data *nl.RtAttr, attr int, value uint32) {
	if value != 0 {
		data.AddRtAttr(attr, nl.Uint32Attr(value))
	}
}

func addUint8(data *nl.RtAttr, attr int, value uint8) {
	if value != 0 {
		data.AddRtAttr(attr, nl.Uint8Attr(value))
	}
}
