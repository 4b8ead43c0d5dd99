package routetable

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Route says where the packets of a prefix go.
type Route struct {
	Remote
	MAC MAC // of the device there, for links that write an inner Ethernet header
}

// Why a change of routes was refused.
var (
	ErrRouteExists   = errors.New("routetable: the prefix has a route")
	ErrRouteNotFound = errors.New("routetable: there is no such route")
	ErrPrefix        = errors.New("routetable: not a prefix, or bits are set behind its length")
)

// checkPrefix refuses what is no prefix: also an IPv4 one written as IPv6, and
// one with host bits, which somebody mistook.
func checkPrefix(p netip.Prefix) error {
	if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
		return ErrPrefix
	}
	return nil
}

// routeKey is an address or a prefix's, left-aligned: an IPv4 address stands in
// the upper half of hi.
type routeKey struct{ hi, lo uint64 }

func addressKey(a netip.Addr) routeKey {
	if a.Is4() {
		b := a.As4()
		return routeKey{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return routeKey{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

// prefix is the inverse of addressKey.
func (k routeKey) prefix(ipv6 bool, bits int) netip.Prefix {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	if !ipv6 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(b[:])), bits)
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), bits)
}

// compare orders keys as addresses are ordered.
func (k routeKey) compare(other routeKey) int {
	switch {
	case k == other:
		return 0
	case k.hi < other.hi || k.hi == other.hi && k.lo < other.lo:
		return -1
	}
	return 1
}
