package underlay

import "net/netip"

// Via says how datagrams reach a remote: what the kernel fills in for a socket,
// and who builds the outer headers himself has to know.
type Via struct {
	IfIndex  int        // of the underlay device
	Source   netip.Addr // of the route, where a Flow has no Local
	HopLimit uint8      // of the route, where a Flow has no TTL
	NextHop  netip.Addr // whose link-layer address the datagrams get; the zero Addr where that is of another family

	// Refused says why nothing goes this way but by a socket, and Uncut why
	// super-frames do not go whole; "" if they do.
	Refused, Uncut string
}

// Whole says why super-frames do not go this way whole; "" if they do.
func (v *Via) Whole() string {
	if v.Refused != "" {
		return v.Refused
	}
	return v.Uncut
}
