package netconf

import (
	"fmt"
	"net/netip"
)

// Range is where the subnets of one address family are taken from.
type Range struct {
	Network   netip.Prefix // masked
	SubnetLen int          // of each node's subnet
	Min, Max  netip.Addr   // base of the first and of the last subnet
}

// Enabled reports whether the network has this address family.
func (r Range) Enabled() bool { return r.Network.IsValid() }

// Allows reports whether p is a subnet that a node may hold. The subnet of a
// family that is off is the zero Prefix.
func (r Range) Allows(p netip.Prefix) bool {
	if !r.Enabled() || !p.IsValid() {
		return r.Enabled() == p.IsValid()
	}
	base := p.Masked().Addr()
	return p.Bits() == r.SubnetLen && !base.Less(r.Min) && !r.Max.Less(base)
}

// family is what differs between the two halves of a config.
type family struct {
	key     string // before the names of its keys
	bits    int    // of an address
	usual   int    // subnet length where the network has room for four of them
	example string
	is      func(netip.Addr) bool
}

var (
	ipv4 = family{"", 32, 24, "10.42.0.0/16", netip.Addr.Is4}
	ipv6 = family{"IPv6", 128, 64, "fd00:42::/48", func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() }}
)

// complete checks the range and fills in what was left out.
func (r Range) complete(f family) (Range, error) {
	if !r.Network.IsValid() || r.Network.Bits() == 0 || !f.is(r.Network.Addr()) {
		return Range{}, fmt.Errorf("%sNetwork: wanted is the address range of the overlay, such as %q; found %s",
			f.key, f.example, found(r.Network))
	}
	r.Network = r.Network.Masked()
	if err := r.setLen(f); err != nil {
		return Range{}, err
	}
	if !given(r.Min) {
		r.Min = After(netip.PrefixFrom(r.Network.Addr(), r.SubnetLen))
	}
	if !given(r.Max) {
		r.Max = netip.PrefixFrom(last(r.Network), r.SubnetLen).Masked().Addr()
	}
	return r, r.checkEnds(f)
}

func found(p netip.Prefix) string {
	if !p.IsValid() {
		return "none"
	}
	return p.String()
}

// given reports whether an end of the range is set: flannel takes 0.0.0.0 for
// unset.
func given(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() }

// setLen checks SubnetLen or gives it its default. The first subnet of a
// network is not used, so at least four are asked for.
func (r *Range) setLen(f family) error {
	longest := f.bits - 2
	switch fits := r.Network.Bits() + 2; {
	case fits > longest:
		return fmt.Errorf("%sNetwork %v is too small: at least four subnets of four addresses have to fit, so /%d or larger is wanted",
			f.key, r.Network, longest-2)
	case r.SubnetLen == 0:
		r.SubnetLen = max(f.usual, fits)
	case r.SubnetLen < fits:
		return fmt.Errorf("%sSubnetLen %d: %sNetwork %v has to hold at least four subnets, so %d to %d is allowed",
			f.key, r.SubnetLen, f.key, r.Network, fits, longest)
	}
	return nil
}

func (r Range) checkEnds(f family) error {
	for _, end := range []struct {
		name string
		addr netip.Addr
	}{{"SubnetMin", r.Min}, {"SubnetMax", r.Max}} {
		if !r.Network.Contains(end.addr) {
			return fmt.Errorf("%s%s %v is not in %sNetwork %v", f.key, end.name, end.addr, f.key, r.Network)
		}
		if base := netip.PrefixFrom(end.addr, r.SubnetLen).Masked().Addr(); base != end.addr {
			return fmt.Errorf("%s%s %v is not where a subnet of length %d begins; %v is", f.key, end.name, end.addr, r.SubnetLen, base)
		}
	}
	if r.Max.Less(r.Min) {
		return fmt.Errorf("%sSubnetMin %v is behind %sSubnetMax %v: no subnet is left", f.key, r.Min, f.key, r.Max)
	}
	return nil
}
