package dataplane

import "net/netip"

// ownAddresses are those that packets of weft's own come from on a link's
// device: the zero Addr where the device has none.
type ownAddresses struct {
	v4, v6 netip.Addr
	acceptance
}

// sourcesAmong chooses them: the first IPv4 address, and the first of IPv6 that
// is known beyond the link if there is such a one.
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
