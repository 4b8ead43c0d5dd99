//go:build linux

package netfilter

import "github.com/google/nftables"

// planOwn brings flannel's own table to the rules of each purpose, and takes it
// away when there are none.
func (n *nft) planOwn(want map[*purpose][]rule) error {
	table := n.ownTable()
	have, exists := n.chains[table.Name], n.chains[table.Name] != nil
	if len(want[forwarding]) == 0 && len(want[masquerading]) == 0 {
		if !exists {
			return n.dropEmptyOwn()
		}
		n.conn.DelTable(table)
		n.wrote = append(n.wrote, n.familyName()+" "+table.Name)
		return nil
	}
	before := len(n.wrote)
	if !exists {
		n.conn.AddTable(table) // no matter if it is there, without a chain
	}
	for _, p := range purposes {
		if err := n.planOwnChain(p, have[p.own], want[p]); err != nil {
			return err
		}
	}
	if len(n.wrote) > before {
		n.wrote = append(n.wrote[:before], n.familyName()+" "+table.Name)
	}
	return nil
}

// dropEmptyOwn takes away a table of flannel's that has no chains.
func (n *nft) dropEmptyOwn() error {
	tables, err := n.conn.ListTablesOfFamily(n.ownTable().Family)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t.Name == n.ownTable().Name {
			n.conn.DelTable(n.ownTable())
			n.wrote = append(n.wrote, n.familyName()+" "+t.Name)
		}
	}
	return nil
}

// planOwnChain makes a base chain of flannel's own. One that hangs elsewhere,
// as flannel's postrtg does at priority 100, is made anew.
func (n *nft) planOwnChain(p *purpose, have *nftables.Chain, rules []rule) error {
	policy := nftables.ChainPolicyAccept
	c := &nftables.Chain{
		Name: p.own, Table: n.ownTable(), Hooknum: p.hook, Priority: &p.priority, Type: p.kind, Policy: &policy,
	}
	fits := have != nil && have.Hooknum != nil && *have.Hooknum == *p.hook && have.Type == p.kind &&
		have.Priority != nil && *have.Priority == p.priority && have.Policy != nil && *have.Policy == policy
	if have != nil && (!fits || rules == nil) {
		n.conn.FlushChain(c)
		n.conn.DelChain(&nftables.Chain{Name: p.own, Table: c.Table})
		n.change(c)
	}
	if rules == nil {
		return nil
	}
	return n.planRules(c, !fits, form{v6: n.v6, own: true}, rules)
}
