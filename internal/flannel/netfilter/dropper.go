//go:build linux

package netfilter

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// drops reports whether a chain's policy is to drop what is forwarded.
func drops(c *nftables.Chain) bool {
	return c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
}

// droppers names the chains of the family where an accept in iptables' FORWARD
// is of no use. Their rules are not looked at: they may accept by themselves.
func (n *nft) droppers() []string {
	var names []string
	for table, chains := range n.chains {
		for _, c := range chains {
			if n.forwards() && drops(c) && (table != forwarding.table || c.Name != forwarding.base) {
				names = append(names, n.familyName()+" "+table+" "+c.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// inetDroppers names those of the tables that are for both families, in which
// distributions and firewalld have their rules.
func inetDroppers(conn *nftables.Conn, sides [2]side) ([]string, error) {
	if !sides[0].forwards() && !sides[1].forwards() {
		return nil, nil
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list the chains of inet: %w", err)
	}
	var names []string
	for _, c := range chains {
		if drops(c) {
			names = append(names, "inet "+c.Table.Name+" "+c.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}
