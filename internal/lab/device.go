//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is what `ip addr show dev` says of a device.
type Device struct {
	Name      string
	Kind      string // "veth", "vxlan", "tun", …
	Index     int
	MTU       int
	MAC       net.HardwareAddr
	Flags     net.Flags
	Addresses []netip.Prefix // IPv6 link-local ones included
	Stats     netlink.LinkStatistics
}

// Device looks a device of the host up.
func (h *Host) Device(name string) (Device, error) {
	link, err := h.link(name)
	if err != nil {
		return Device{}, err
	}
	a := link.Attrs()
	d := Device{Name: a.Name, Kind: link.Type(), Index: a.Index, MTU: a.MTU, MAC: a.HardwareAddr, Flags: a.Flags}
	if a.Statistics != nil {
		d.Stats = *a.Statistics
	}
	var addrs []netlink.Addr
	for range 100 { // a list that changed while it was read is read again
		if addrs, err = h.nl.AddrList(link, netlink.FAMILY_ALL); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return d, fmt.Errorf("host %s: addresses of %s: %w", h.Name, name, err)
	}
	for _, addr := range addrs {
		d.Addresses = append(d.Addresses, prefixOf(addr.IPNet))
	}
	return d, nil
}

// Stats reads a device's counters.
func (h *Host) Stats(dev string) (netlink.LinkStatistics, error) {
	d, err := h.Device(dev)
	return d.Stats, err
}

// SetUp brings a device up. If it has a carrier, its addresses are usable then.
func (h *Host) SetUp(dev string) error {
	if err := h.onLink(dev, "bringing up", h.nl.LinkSetUp); err != nil {
		return err
	}
	return h.awaitReachable(dev)
}

// SetDown takes a device down, which costs it its IPv6 addresses.
func (h *Host) SetDown(dev string) error { return h.onLink(dev, "taking down", h.nl.LinkSetDown) }

// Rename takes a device down and gives it another name.
func (h *Host) Rename(dev, name string) error {
	if err := h.SetDown(dev); err != nil {
		return err
	}
	return h.onLink(dev, "renaming", func(l netlink.Link) error { return h.nl.LinkSetName(l, name) })
}

// Delete deletes a device.
func (h *Host) Delete(dev string) error { return h.onLink(dev, "deleting", h.nl.LinkDel) }

// SetMTU sets a device's MTU, in bytes of IP packet.
func (h *Host) SetMTU(dev string, mtu int) error {
	return h.onLink(dev, "setting the MTU of", func(l netlink.Link) error { return h.nl.LinkSetMTU(l, mtu) })
}

// Move moves a device to another host, where it arrives down and without
// addresses.
func (h *Host) Move(dev string, to *Host) error {
	return h.onLink(dev, "moving", func(l netlink.Link) error { return h.nl.LinkSetNsFd(l, to.NetNS()) })
}

// AddAddr gives a device an address with its prefix. IPv6 ones skip duplicate
// address detection and are usable at once.
func (h *Host) AddAddr(dev string, p netip.Prefix) error {
	err := h.onLink(dev, "adding "+p.String()+" to", func(l netlink.Link) error {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		return h.nl.AddrAdd(l, addr)
	})
	if err != nil {
		return err
	}
	return h.awaitReachable(dev)
}

// AddRoute adds a route: to prefix p through the device, by way of via if that
// is valid.
func (h *Host) AddRoute(p netip.Prefix, dev string, via netip.Addr) error {
	return h.onLink(dev, "route to "+p.String()+" through", func(l netlink.Link) error {
		return h.nl.RouteAdd(route(p, l, via))
	})
}

// DelRoute takes a route out that AddRoute added.
func (h *Host) DelRoute(p netip.Prefix, dev string, via netip.Addr) error {
	return h.onLink(dev, "removing the route to "+p.String()+" through", func(l netlink.Link) error {
		return h.nl.RouteDel(route(p, l, via))
	})
}

func route(p netip.Prefix, dev netlink.Link, via netip.Addr) *netlink.Route {
	r := &netlink.Route{LinkIndex: dev.Attrs().Index, Dst: ipNet(p.Masked())}
	if via.IsValid() {
		r.Gw = via.AsSlice()
	}
	return r
}

func (h *Host) link(name string) (netlink.Link, error) {
	link, err := h.nl.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("host %s: device %s: %w", h.Name, name, err)
	}
	return link, nil
}

// onLink applies a netlink call to a device; what names it in errors.
func (h *Host) onLink(dev, what string, call func(netlink.Link) error) error {
	link, err := h.link(dev)
	if err != nil {
		return err
	}
	if err := call(link); err != nil {
		return fmt.Errorf("host %s: %s %s: %w", h.Name, what, dev, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) netip.Prefix {
	addr, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}
