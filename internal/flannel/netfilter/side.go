//go:build linux

package netfilter

import (
	"cmp"
	"net/netip"
	"slices"
)

// side is what is wanted of one address family: of each network, for a host
// may be a node of several, whose agents share the chains.
type side struct {
	v6       bool
	networks []family
}

// sides sorts the networks, so that each of the agents writes the same.
func sides(all []Rules) [2]side {
	var s [2]side
	s[1].v6 = true
	for _, r := range all {
		for i, f := range r.families() {
			if f.network.IsValid() {
				s[i].networks = append(s[i].networks, f)
			}
		}
	}
	for i := range s {
		slices.SortStableFunc(s[i].networks, func(a, b family) int {
			return cmp.Or(a.network.Compare(b.network), a.subnet.Compare(b.subnet))
		})
	}
	return s
}

// content is what a chain is to hold. Without rules there is to be no chain.
type content struct {
	rules    []rule
	networks []netip.Prefix // whose traffic may need a jump of its own
}

// content of the networks for which in holds. A rule that meets the same as
// one before it is left out.
func (s side) content(p *purpose, in func(family) bool) content {
	var c content
	for _, f := range s.networks {
		rules := p.rules(f)
		if rules == nil || !in(f) {
			continue
		}
		for _, r := range rules {
			if !slices.Contains(c.rules, r) {
				c.rules = append(c.rules, r)
			}
		}
		if !slices.Contains(c.networks, f.network) {
			c.networks = append(c.networks, f.network)
		}
	}
	return c
}

// inIptables reports whether a network has its rules in the tables of iptables.
// With EnableNFTables a masquerade is in flannel's own table, which decides
// before those do.
func inIptables(p *purpose) func(family) bool {
	return func(f family) bool { return p == forwarding || !f.nft }
}

// forwards reports whether a network wants its traffic let through.
func (s side) forwards() bool {
	return slices.ContainsFunc(s.networks, func(f family) bool { return f.forward })
}

func (s side) masquerades() bool {
	return slices.ContainsFunc(s.networks, func(f family) bool { return f.masq })
}
