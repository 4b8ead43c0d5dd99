//go:build linux

package netfilter

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// nft brings one address family of nf_tables to what is wanted: it reads what
// is there and collects what is to be written, which conn sends as one
// transaction.
type nft struct {
	side
	conn   *nftables.Conn
	reader *nftReader
	compat bool // the kernel has iptables' extensions for nf_tables
	chains map[string]map[string]*nftables.Chain
	wrote  []string // places that are to be changed, for the log
}

func newNFT(s side, conn *nftables.Conn, reader *nftReader, compat bool) (*nft, error) {
	n := &nft{side: s, conn: conn, reader: reader, compat: compat, chains: map[string]map[string]*nftables.Chain{}}
	list, err := conn.ListChainsOfTableFamily(n.table("").Family)
	if err != nil {
		return nil, fmt.Errorf("list the chains of %s: %w", n.familyName(), err)
	}
	for _, c := range list {
		if n.chains[c.Table.Name] == nil {
			n.chains[c.Table.Name] = map[string]*nftables.Chain{}
		}
		n.chains[c.Table.Name][c.Name] = c
	}
	return n, nil
}

func (n *nft) table(name string) *nftables.Table {
	return &nftables.Table{Name: name, Family: form{v6: n.v6}.family()}
}

func (n *nft) familyName() string {
	if n.v6 {
		return "ip6"
	}
	return "ip"
}

// ownTable has flannel's name.
func (n *nft) ownTable() *nftables.Table {
	if n.v6 {
		return n.table("flannel-ipv6")
	}
	return n.table("flannel-ipv4")
}

// holds reports whether iptables' base chain for the purpose is there to jump
// from. Without iptables' extensions a masquerade has no form that iptables
// could list, so its table is left alone.
func (n *nft) holds(p *purpose) bool {
	c := n.chains[p.table][p.base]
	if c == nil || c.Hooknum == nil || *c.Hooknum != *p.hook || c.Type != p.kind {
		return false
	}
	return n.compat || p == forwarding
}

// plan collects what is to be done. legacy tells which purposes have a place in
// iptables-legacy.
func (n *nft) plan(legacy map[*purpose]bool) error {
	own := map[*purpose][]rule{}
	for _, p := range purposes {
		var compat content
		if n.holds(p) {
			compat = n.content(p, inIptables(p))
		}
		nowhere := !n.holds(p) && !legacy[p]
		own[p] = n.content(p, func(f family) bool { return f.nft || nowhere }).rules
		if err := n.planCompat(p, compat); err != nil {
			return fmt.Errorf("table %s %s: %w", n.familyName(), p.table, err)
		}
	}
	if err := n.planOwn(own); err != nil {
		return fmt.Errorf("table %s %s: %w", n.familyName(), n.ownTable().Name, err)
	}
	return nil
}

// planCompat brings the chain in iptables' table to the rules, and the jumps to
// it; without rules both go.
func (n *nft) planCompat(p *purpose, want content) error {
	f := form{v6: n.v6}
	if n.compat {
		f.comment = p.comment
	}
	c := &nftables.Chain{Name: p.chain, Table: n.table(p.table)}
	before := len(n.wrote)
	if want.rules != nil {
		if err := n.planRules(c, n.chains[p.table][p.chain] == nil, f, want.rules); err != nil {
			return err
		}
	}
	if err := n.planJumps(p, f, want); err != nil {
		return err
	}
	if want.rules == nil && n.chains[p.table][p.chain] != nil {
		n.conn.FlushChain(c)
		n.conn.DelChain(c)
		n.change(c)
	}
	if len(n.wrote) > before {
		n.wrote = append(n.wrote[:before], n.familyName()+" "+p.table+" "+p.chain)
	}
	return nil
}

func (n *nft) change(c *nftables.Chain) {
	n.wrote = append(n.wrote, n.familyName()+" "+c.Table.Name+" "+c.Name)
}

// planRules makes a chain, where it is new, and writes its rules unless they
// are there.
func (n *nft) planRules(c *nftables.Chain, isNew bool, f form, rules []rule) error {
	want := make([][]expr.Any, len(rules))
	for i, r := range rules {
		want[i] = f.exprs(r)
	}
	if isNew {
		n.conn.AddChain(c)
	} else {
		have, err := n.reader.rules(c.Table.Family, c.Table.Name, c.Name)
		if err != nil {
			return err
		}
		if same(c.Table.Family, have, want) {
			return nil
		}
		n.conn.FlushChain(c)
	}
	for _, e := range want {
		n.conn.AddRule(&nftables.Rule{Table: c.Table, Chain: c, Exprs: e})
	}
	n.change(c)
	return nil
}

func same(family nftables.TableFamily, have []nftRule, want [][]expr.Any) bool {
	if len(have) != len(want) {
		return false
	}
	for i, r := range have {
		if !r.is(family, want[i]) {
			return false
		}
	}
	return true
}

// planJumps has the base chain lead to the purpose's chain, or no longer.
func (n *nft) planJumps(p *purpose, f form, want content) error {
	base := n.chains[p.table][p.base]
	if base == nil {
		return nil
	}
	base = &nftables.Chain{Name: base.Name, Table: n.table(p.table)}
	rules, err := n.reader.rules(base.Table.Family, p.table, p.base)
	if err != nil {
		return err
	}
	var others []nftRule
	var steps []step
	var ours []nftRule
	var have []jump
	for _, r := range rules {
		if !r.isOurs(p) {
			others, steps = append(others, r), append(steps, r.step())
			continue
		}
		ours = append(ours, r)
		have = append(have, jump{
			all: r.is(base.Table.Family, f.jump(p.chain, netip.Prefix{})),
			inner: slices.IndexFunc(want.networks, func(network netip.Prefix) bool {
				return r.is(base.Table.Family, f.jump(p.chain, network))
			}),
			before: len(others),
		})
	}
	var failed error
	at := p.spots(steps, func(chain string) []step { return n.steps(p.table, chain, &failed) })
	if failed != nil {
		return failed
	}
	wanted := want.rules != nil
	if !wanted && ours == nil || wanted && at.inPlace(have, len(want.networks)) {
		return nil
	}
	for _, r := range ours {
		if err := n.conn.DelRule(&nftables.Rule{Table: base.Table, Chain: base, Handle: r.handle}); err != nil {
			return err
		}
	}
	if wanted {
		n.insertJumps(p, f, base, others, at, want.networks)
	}
	n.change(base)
	return nil
}

// steps reads another chain of the table. The first error is kept in failed.
func (n *nft) steps(table, chain string, failed *error) []step {
	rules, err := n.reader.rules(n.table("").Family, table, chain)
	if err != nil && *failed == nil {
		*failed = err
	}
	steps := make([]step, len(rules))
	for i, r := range rules {
		steps[i] = r.step()
	}
	return steps
}

func (n *nft) insertJumps(p *purpose, f form, base *nftables.Chain, others []nftRule, at spots, networks []netip.Prefix) {
	if at.inner >= 0 && at.inner < at.all {
		for _, network := range networks {
			n.insertBefore(base, others, at.inner, f.jump(p.chain, network))
		}
	}
	n.insertBefore(base, others, at.all, f.jump(p.chain, netip.Prefix{}))
}

func (n *nft) insertBefore(base *nftables.Chain, others []nftRule, at int, e []expr.Any) {
	r := &nftables.Rule{Table: base.Table, Chain: base, Exprs: e}
	if at == len(others) {
		n.conn.AddRule(r)
		return
	}
	r.Position = others[at].handle
	n.conn.InsertRule(r)
}
