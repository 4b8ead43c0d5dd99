package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/lease"
)

// holeMetric is a late one, so that the route of the containers' bridge,
// which may come later, is found first.
const holeMetric = 1<<31 - 1

// addHoles has packets for addresses of the own subnet that nobody has end
// here, instead of going back to where they came from by the default route.
func addHoles(s lease.Subnet) error {
	return eachHole(s, func(r *netlink.Route) error {
		if err := netlink.RouteAdd(r); !errors.Is(err, syscall.EEXIST) {
			return err
		}
		return nil
	})
}

func delHoles(s lease.Subnet) error {
	return eachHole(s, func(r *netlink.Route) error {
		if err := netlink.RouteDel(r); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return nil
	})
}

// leaveHole takes away those of a subnet that was this node's before. It is
// another node's now, or will be, and they would be found before the route to
// the whole network.
func (n *node) leaveHole() error {
	former := n.memory.Lease.Subnet
	if !n.memory.Hole || former == n.lease.Subnet {
		return nil
	}
	return delHoles(former)
}

func eachHole(s lease.Subnet, do func(*netlink.Route) error) error {
	for _, p := range []netip.Prefix{s.IPv4, s.IPv6} {
		if !p.IsValid() {
			continue
		}
		if err := do(&netlink.Route{Dst: device.IPNet(p), Type: unix.RTN_BLACKHOLE, Priority: holeMetric}); err != nil {
			return fmt.Errorf("blackhole %v: %w", p, err)
		}
	}
	return nil
}
