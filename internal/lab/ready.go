//go:build linux

package lab

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// readyLimit is how long the kernel's background work on a device may take.
const readyLimit = 5 * time.Second

// awaitCarrier waits until a device transmits. The first end of a wire that
// comes up does so a moment after the second, and drops what is sent before.
func (h *Host) awaitCarrier(dev string) error {
	return Eventually(readyLimit, func() error {
		running, err := h.hasFlags(dev, unix.IFF_RUNNING)
		if err == nil && !running {
			err = fmt.Errorf("host %s: %s has no carrier", h.Name, dev)
		}
		return err
	})
}

// awaitReachable waits until the neighbours of a device can find its IPv6
// addresses: the kernel joins their solicited-node groups in the background,
// even where it skips duplicate address detection. Of a device without
// neighbours it waits until packets to these addresses are taken.
func (h *Host) awaitReachable(dev string) error {
	running, err := h.hasFlags(dev, unix.IFF_RUNNING)
	if err != nil || !running {
		return err
	}
	loopback, err := h.hasFlags(dev, unix.IFF_LOOPBACK)
	if err != nil || loopback {
		return err
	}
	silent, err := h.hasFlags(dev, unix.IFF_NOARP)
	if err != nil {
		return err
	}
	d, err := h.Device(dev)
	if err != nil {
		return err
	}
	if silent {
		return Eventually(readyLimit, func() error { return h.takenAll(&d) })
	}
	return Eventually(readyLimit, func() error { return h.joinedAll(dev, d.Addresses) })
}

// hasFlags reports whether a device has any of some flags.
func (h *Host) hasFlags(dev string, flags uint32) (bool, error) {
	link, err := h.link(dev)
	if err != nil {
		return false, err
	}
	return link.Attrs().RawFlags&flags != 0, nil
}

// joinedAll returns an error unless a device is in the solicited-node group of
// each IPv6 address.
func (h *Host) joinedAll(dev string, addrs []netip.Prefix) error {
	return h.Do(func() error {
		groups, err := os.ReadFile("/proc/thread-self/net/igmp6")
		if errors.Is(err, os.ErrNotExist) {
			return nil // no IPv6 at all
		}
		for _, p := range addrs {
			if p.Addr().Is6() && !isMember(string(groups), dev, solicitedNode(p.Addr())) {
				return fmt.Errorf("%s is not yet reachable at %v", dev, p.Addr())
			}
		}
		return err
	})
}

// takenAll returns an error unless the host has a local route for each IPv6
// address of a device.
func (h *Host) takenAll(d *Device) error {
	local := &netlink.Route{Table: unix.RT_TABLE_LOCAL, LinkIndex: d.Index}
	routes, err := h.nl.RouteListFiltered(netlink.FAMILY_V6, local, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	if err != nil {
		return fmt.Errorf("host %s: local routes of %s: %w", h.Name, d.Name, err)
	}
	for _, p := range d.Addresses {
		if p.Addr().Is6() && !slices.ContainsFunc(routes, func(r netlink.Route) bool { return r.Dst != nil && r.Dst.IP.Equal(p.Addr().AsSlice()) }) {
			return fmt.Errorf("%s does not take packets to %v yet", d.Name, p.Addr())
		}
	}
	return nil
}

// isMember looks for "index device group …" in the kernel's list.
func isMember(groups, dev string, group netip.Addr) bool {
	want := hex.EncodeToString(group.AsSlice())
	for line := range strings.Lines(groups) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == dev && f[2] == want {
			return true
		}
	}
	return false
}

// solicitedNode is the multicast group in which an address is asked for (RFC
// 4291 §2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	group := netip.MustParseAddr("ff02::1:ff00:0").As16()
	from := a.As16()
	copy(group[13:], from[13:])
	return netip.AddrFrom16(group)
}
