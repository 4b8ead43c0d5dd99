package iface

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// unusable are addresses that a socket cannot have yet, or should not have any
// more.
const unusable = unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

// usable returns the addresses of one interface as flannel ranks them: what is
// seen beyond the wire before what is not, what stays before what a lease of
// DHCP or a router's prefix gave, and what privacy made up last.
func usable(all []netlink.Addr, index int) []netip.Addr {
	var mine []netlink.Addr
	for _, a := range all {
		if a.LinkIndex == index && a.Flags&unusable == 0 {
			mine = append(mine, a)
		}
	}
	slices.SortStableFunc(mine, func(a, b netlink.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	addrs := make([]netip.Addr, 0, len(mine))
	for _, a := range mine {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			addrs = append(addrs, ip.Unmap())
		}
	}
	return addrs
}

func rank(a netlink.Addr) (r int) {
	if a.IP.IsLinkLocalUnicast() {
		r += 4
	}
	if a.Flags&unix.IFA_F_PERMANENT == 0 {
		r += 2
	}
	if a.IP.To4() == nil && a.Flags&unix.IFA_F_TEMPORARY != 0 { // the same bit says "secondary" of an IPv4 address
		r++
	}
	return r
}
