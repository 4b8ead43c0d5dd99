//go:build !linux || portable

package dataplane

import (
	"net"
	"net/netip"

	"github.com/weftnet/weft/dataplane/internal/tap"
)

// deviceAddresses asks for an address of each family that the device has: the
// zero Addr where there is none.
func deviceAddresses(device *tap.Device) (v4, v6 netip.Addr) {
	dev, err := net.InterfaceByName(device.Name())
	if err != nil {
		return v4, v6
	}
	addresses, _ := dev.Addrs()
	var all []netip.Addr
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr().Unmap())
		}
	}
	return sourcesAmong(all)
}
