//go:build !portable

package dataplane

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/tap"
)

// deviceAddresses asks for an address of each family that the device has, wherever
// it is now: the zero Addr where there is none.
func deviceAddresses(device *tap.Device) (v4, v6 netip.Addr) {
	name, ns, err := device.Where()
	if err != nil {
		return v4, v6
	}
	defer unix.Close(ns)
	handle, err := netlinkIn(ns)
	if err != nil {
		return v4, v6
	}
	defer handle.Close()
	link, err := handle.LinkByName(name)
	if err != nil {
		return v4, v6
	}
	addresses, _ := handle.AddrList(link, netlink.FAMILY_ALL)
	var all []netip.Addr
	for _, a := range addresses {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && a.Flags&unix.IFA_F_TENTATIVE == 0 {
			all = append(all, addr.Unmap())
		}
	}
	return sourcesAmong(all)
}
