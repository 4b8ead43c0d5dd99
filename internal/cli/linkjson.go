package cli

import (
	"fmt"
	"net/netip"

	"github.com/weftnet/weft/dataplane"
)

// linkJSON is one link under the keys of `ip -j -d link show`.
type linkJSON struct {
	Index     int               `json:"ifindex"`
	Name      string            `json:"ifname"`
	Flags     []string          `json:"flags"`
	MTU       int               `json:"mtu"`
	Master    string            `json:"master,omitempty"`
	OperState string            `json:"operstate"`
	Group     string            `json:"group"`
	TxQLen    int               `json:"txqlen"`
	LinkType  string            `json:"link_type"`
	Address   string            `json:"address,omitempty"`
	Broadcast string            `json:"broadcast,omitempty"`
	LinkInfo  kindJSON          `json:"linkinfo"`
	Offload   map[string]string `json:"offload"`
	Profile   string            `json:"profile,omitempty"`
	Sources   []netip.Prefix    `json:"allow_sources,omitempty"`
	Stats     *figures          `json:"stats64,omitempty"`
}

type kindJSON struct {
	Kind string `json:"info_kind"`
	Data any    `json:"info_data"` // vxlanJSON or udpJSON
}

type udpJSON struct {
	Local  netip.Addr `json:"local,omitzero"`
	Local6 netip.Addr `json:"local6,omitzero"`
	Link   string     `json:"link,omitempty"`
	Port   uint16     `json:"port"`
}

type vxlanJSON struct {
	ID         uint32     `json:"id"`
	L3         bool       `json:"l3,omitempty"`
	L3Address  string     `json:"l3_address,omitempty"` // the source of inner frames, which the device has not
	Group      netip.Addr `json:"group,omitzero"`
	Group6     netip.Addr `json:"group6,omitzero"`
	Remote     netip.Addr `json:"remote,omitzero"`
	Remote6    netip.Addr `json:"remote6,omitzero"`
	Local      netip.Addr `json:"local,omitzero"`
	Local6     netip.Addr `json:"local6,omitzero"`
	Link       string     `json:"link,omitempty"`
	PortRange  portRange  `json:"port_range"`
	Port       uint16     `json:"port"`
	Learning   bool       `json:"learning"`
	Proxy      bool       `json:"proxy,omitempty"`
	L2Miss     bool       `json:"l2miss,omitempty"`
	L3Miss     bool       `json:"l3miss,omitempty"`
	TOS        string     `json:"tos,omitempty"`
	TTL        *uint8     `json:"ttl,omitempty"`
	TTLInherit bool       `json:"ttl_inherit,omitempty"`
	DF         string     `json:"df"`
	Label      string     `json:"label,omitempty"`
	Ageing     uint32     `json:"ageing"`
	Limit      uint32     `json:"limit,omitempty"`
	UDPCsum    bool       `json:"udp_csum"`
	ZeroTx6    bool       `json:"udp_zero_csum6_tx"`
	ZeroRx6    bool       `json:"udp_zero_csum6_rx"`
}

type portRange struct {
	Low  uint16 `json:"low"`
	High uint16 `json:"high"`
}

func linksAsJSON(links []foundLink) []linkJSON {
	all := make([]linkJSON, len(links)) // [] and not null when there are none
	for i := range links {
		all[i] = linkAsJSON(&links[i])
	}
	return all
}

func linkAsJSON(l *foundLink) linkJSON {
	d := l.device
	j := linkJSON{
		Index: d.Index, Name: d.Name, Flags: flagNames(d.RawFlags), MTU: d.MTU,
		OperState: operState(d), Group: groupName(d.Group), TxQLen: d.TxQLen,
		LinkType: "ether", Address: d.HardwareAddr.String(), Broadcast: broadcast,
		LinkInfo: kindAsJSON(&l.info),
		Offload:  l.info.Features,
		Profile:  l.info.Profile, Sources: l.info.AllowSources,
	}
	if len(d.HardwareAddr) == 0 {
		j.LinkType, j.Broadcast = "none", ""
	}
	if d.MasterIndex != 0 {
		j.Master = deviceName(d.MasterIndex)
	}
	if l.stats != nil {
		f := figuresOf(l.stats)
		j.Stats = &f
	}
	return j
}

func kindAsJSON(c *dataplane.LinkInfo) kindJSON {
	if c.Bare() {
		u := udpJSON{Link: c.Dev, Port: c.Port}
		u.Local, u.Local6 = byFamily(c.Local)
		return kindJSON{"udp", u}
	}
	return kindJSON{"vxlan", vxlanAsJSON(c)}
}

func vxlanAsJSON(c *dataplane.LinkInfo) vxlanJSON {
	v := vxlanJSON{
		ID: c.VNI, Link: c.Dev, Port: c.Port, PortRange: portRange{c.SrcPortLow, c.SrcPortHigh},
		Learning: !c.NoLearning, Proxy: c.Proxy, L2Miss: c.L2Miss, L3Miss: c.L3Miss,
		TOS: tosJSON(c), TTLInherit: c.TTLCopy, DF: string(dataplane.DFUnset), Ageing: lifetime(c), Limit: c.MaxAddress,
		UDPCsum: !c.Checksum.NoUDP, ZeroTx6: c.Checksum.ZeroTx6, ZeroRx6: c.Checksum.AcceptRx6,
	}
	if group, ok := c.Group(); ok {
		v.Group, v.Group6 = byFamily(group)
	} else {
		v.Remote, v.Remote6 = byFamily(c.Remote)
	}
	v.Local, v.Local6 = byFamily(c.Local)
	if c.L3 {
		v.L3, v.L3Address = true, c.Address
	}
	if !c.TTLCopy {
		v.TTL = &c.TTL
	}
	if c.DF != "" {
		v.DF = string(c.DF)
	}
	if c.FlowLabel != 0 {
		v.Label = fmt.Sprintf("%#x", c.FlowLabel)
	}
	return v
}

// tosJSON is as ip has it: hexadecimal text, 0x1 for inherit.
func tosJSON(c *dataplane.LinkInfo) string {
	switch {
	case c.TOSCopy:
		return "0x1"
	case c.TOS == 0:
		return ""
	}
	return fmt.Sprintf("%#x", c.TOS)
}

func byFamily(addr netip.Addr) (v4, v6 netip.Addr) {
	if addr.Is4() {
		return addr, netip.Addr{}
	}
	return netip.Addr{}, addr
}
