package dataplane

import "net/netip"

// sourcesAmong chooses what answers come from: the first IPv4 address, and the
// first of IPv6 that is known beyond the link if there is such a one.
func sourcesAmong(addresses []netip.Addr) (v4, v6 netip.Addr) {
	for _, a := range addresses {
		switch {
		case a.Is4():
			if !v4.IsValid() {
				v4 = a
			}
		case !v6.IsValid() || v6.IsLinkLocalUnicast() && !a.IsLinkLocalUnicast():
			v6 = a
		}
	}
	return v4, v6
}
