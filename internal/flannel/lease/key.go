// Package lease reads and writes the records by which the nodes of a flannel
// network tell each other which subnet they hold: a key and a JSON value in
// etcd, byte for byte as flannel writes them.
package lease

import (
	"net/netip"
	"regexp"
	"strconv"
)

// Subnet is what one node holds: a range of IPv4 addresses and, in a network
// with both families, one of IPv6 addresses. The zero Prefix stands for none.
type Subnet struct{ IPv4, IPv6 netip.Prefix }

// keyPattern is not bound to the beginning, since flannel applies it to whole
// paths. The lengths are checked by the parser.
var keyPattern = regexp.MustCompile(`(\d+(?:\.\d+){3})-(\d+)(?:&([a-f\d:]+)-(\d+))?$`)

// ParseKey reads the subnet at the end of a key, and reports whether flannel
// would. Host bits are cleared.
func ParseKey(key string) (Subnet, bool) {
	m := keyPattern.FindStringSubmatch(key)
	if m == nil {
		return Subnet{}, false
	}
	v4, ok := parsePrefix(m[1], m[2], 5)
	if !ok {
		return Subnet{}, false
	}
	if m[3] == "" {
		return Subnet{IPv4: v4}, true
	}
	v6, ok := parsePrefix(m[3], m[4], 7)
	return Subnet{v4, v6}, ok
}

// parsePrefix reads an address and a length, which flannel reads as a number
// of so many bits: it knows neither /32 nor /128.
func parsePrefix(addr, length string, bits int) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}, false
	}
	n, err := strconv.ParseUint(length, 10, bits)
	if err != nil {
		return netip.Prefix{}, false
	}
	p, err := a.Prefix(int(n))
	return p, err == nil
}

// Key returns the last element of the subnet's path.
func (s Subnet) Key() string {
	key := dashed(s.IPv4)
	if s.IPv6.IsValid() {
		key += "&" + dashed(s.IPv6)
	}
	return key
}

func dashed(p netip.Prefix) string {
	return p.Addr().String() + "-" + strconv.Itoa(p.Bits())
}

// Overlaps reports whether an address is in both subnets.
func (s Subnet) Overlaps(o Subnet) bool {
	return s.IPv4.Overlaps(o.IPv4) || s.IPv6.Overlaps(o.IPv6)
}

// String writes the subnet as people do.
func (s Subnet) String() string {
	if s.IPv6.IsValid() {
		return s.IPv4.String() + " and " + s.IPv6.String()
	}
	return s.IPv4.String()
}
