package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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

func eachHole(s lease.Subnet, do func(*netlink.Route) error) error {
	for _, p := range []netip.Prefix{s.IPv4, s.IPv6} {
		if !p.IsValid() {
			continue
		}
		dst := &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
		if err := do(&netlink.Route{Dst: dst, Type: unix.RTN_BLACKHOLE, Priority: holeMetric}); err != nil {
			return fmt.Errorf("blackhole %v: %w", p, err)
		}
	}
	return nil
}
