//go:build !linux || portable

package dataplane

import (
	"net"
	"net/netip"

	"github.com/weftnet/weft/dataplane/internal/tap"
)

// ask finds out what addresses the device has.
func (o *ownAddresses) ask(device *tap.Device) {
	o.v4, o.v6 = netip.Addr{}, netip.Addr{}
	dev, err := net.InterfaceByName(device.Name())
	if err != nil {
		return
	}
	addresses, _ := dev.Addrs()
	var all []netip.Addr
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, p.Addr().Unmap())
		}
	}
	o.v4, o.v6 = sourcesAmong(all)
}

// acceptance is for systems that drop packets from their own addresses, if they
// can be told not to.
type acceptance struct{}

func (*acceptance) begin() bool { return true }
func (*acceptance) end()        {}
func (*acceptance) close()      {}
