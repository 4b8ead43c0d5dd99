//go:build linux

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// AddBridge makes a bridge in the host and brings it up. It floods multicast
// (no snooping), and netfilter does not see what it forwards.
func (h *Host) AddBridge(name string) error {
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, TxQLen: -1}, MulticastSnooping: &snooping}
	if err := h.nl.LinkAdd(bridge); err != nil {
		return fmt.Errorf("host %s: adding bridge %s: %w", h.Name, name, err)
	}
	// Netfilter would see bridged packets where br_netfilter is loaded.
	_ = h.Sysctl("net.bridge.bridge-nf-call-iptables", "0")
	_ = h.Sysctl("net.bridge.bridge-nf-call-ip6tables", "0")
	return h.SetUp(name)
}

// SetMaster makes devices ports of a bridge.
func (h *Host) SetMaster(bridge string, devs ...string) error {
	master, err := h.link(bridge)
	if err != nil {
		return err
	}
	for _, dev := range devs {
		err := h.onLink(dev, "plugging into "+bridge, func(l netlink.Link) error { return h.nl.LinkSetMaster(l, master) })
		if err != nil {
			return err
		}
	}
	return nil
}

// SetNoMaster takes a device out of its bridge.
func (h *Host) SetNoMaster(dev string) error {
	return h.onLink(dev, "unplugging", h.nl.LinkSetNoMaster)
}

// SetPortLearning says whether a bridge learns from frames that come in by one
// of its ports.
func (h *Host) SetPortLearning(dev string, on bool) error {
	return h.onLink(dev, "learning by port", func(l netlink.Link) error { return h.nl.LinkSetLearning(l, on) })
}

// SetNeighSuppress has a bridge answer ARP requests and neighbour solicitations
// itself, for whom it knows behind one of its ports, and keep them from there.
func (h *Host) SetNeighSuppress(dev string, on bool) error {
	return h.onLink(dev, "neigh_suppress of", func(l netlink.Link) error { return h.nl.LinkSetBrNeighSuppress(l, on) })
}

// SetBridgeAgeing sets how long a bridge keeps what it learnt, in steps of 10 ms.
func (h *Host) SetBridgeAgeing(bridge string, d time.Duration) error {
	ticks := uint32(d / (10 * time.Millisecond))
	return h.onLink(bridge, "ageing of", func(l netlink.Link) error {
		return h.nl.LinkModify(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: l.Attrs().Index, Name: bridge}, AgeingTime: &ticks})
	})
}

// AddNeighbour makes a permanent entry: at addr, through dev, answers mac.
func (h *Host) AddNeighbour(dev string, addr netip.Addr, mac net.HardwareAddr) error {
	return h.onLink(dev, "neighbour on", func(l netlink.Link) error {
		return h.nl.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: addr.AsSlice(), HardwareAddr: mac,
		})
	})
}

// DelAddr takes an address from a device.
func (h *Host) DelAddr(dev string, p netip.Prefix) error {
	return h.onLink(dev, "removing "+p.String()+" from", func(l netlink.Link) error {
		return h.nl.AddrDel(l, &netlink.Addr{IPNet: ipNet(p)})
	})
}

// DelNeighbour takes an entry out that AddNeighbour made.
func (h *Host) DelNeighbour(dev string, addr netip.Addr) error {
	return h.onLink(dev, "neighbour off", func(l netlink.Link) error {
		return h.nl.NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: addr.AsSlice()})
	})
}
