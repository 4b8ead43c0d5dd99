package netconf

import "net/netip"

// After returns the first address behind p, and the zero Addr behind the last
// address of all.
func After(p netip.Prefix) netip.Addr { return last(p).Next() }

// last returns the address of p with all host bits set.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
