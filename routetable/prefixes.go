package routetable

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// Prefixes is a set of address prefixes that never changes. A nil one is empty.
type Prefixes struct{ set bart.Lite }

// NewPrefixes returns the set of p. Host bits of a prefix are ignored.
func NewPrefixes(p ...netip.Prefix) *Prefixes {
	s := &Prefixes{}
	for _, prefix := range p {
		s.set.Insert(prefix)
	}
	return s
}

// Contains reports whether a is in one of the prefixes. It takes no lock and
// allocates nothing.
func (s *Prefixes) Contains(a netip.Addr) bool { return s != nil && s.set.Contains(a) }
