//go:build linux

package netfilter_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

var bothFamilies = []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6}

// onNFT runs f with nf_tables of a host and sends what it asked for.
func onNFT(t *testing.T, h *lab.Host, f func(c *nftables.Conn) error) {
	t.Helper()
	check(t, h.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		if err := f(c); err != nil {
			return err
		}
		return c.Flush()
	}))
}

// baseChain is one that iptables has in its tables.
type baseChain struct {
	name     string
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
}

var baseChains = map[string][]baseChain{
	"filter": {
		{"INPUT", nftables.ChainHookInput, nftables.ChainPriorityFilter},
		{"FORWARD", nftables.ChainHookForward, nftables.ChainPriorityFilter},
		{"OUTPUT", nftables.ChainHookOutput, nftables.ChainPriorityFilter},
	},
	"nat": {
		{"PREROUTING", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest},
		{"INPUT", nftables.ChainHookInput, nftables.ChainPriorityNATSource},
		{"OUTPUT", nftables.ChainHookOutput, nftables.ChainPriorityNATDest},
		{"POSTROUTING", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource},
	},
}

// iptablesTable makes a table as iptables over nf_tables does, FORWARD dropping.
func iptablesTable(t *testing.T, h *lab.Host, name string) {
	t.Helper()
	onNFT(t, h, func(c *nftables.Conn) error {
		for _, family := range bothFamilies {
			table := c.AddTable(&nftables.Table{Name: name, Family: family})
			for _, chain := range baseChains[name] {
				policy, kind := nftables.ChainPolicyAccept, nftables.ChainType(name)
				if chain.name == "FORWARD" {
					policy = nftables.ChainPolicyDrop
				}
				c.AddChain(&nftables.Chain{Name: chain.name, Table: table, Type: kind, Hooknum: chain.hook, Priority: chain.priority, Policy: &policy})
			}
		}
		return nil
	})
}

// appendRule appends one to a chain of each family, and makes the chain.
func appendRule(t *testing.T, h *lab.Host, table, chain string, exprs func(nftables.TableFamily) []expr.Any) {
	t.Helper()
	onNFT(t, h, func(c *nftables.Conn) error {
		for _, family := range bothFamilies {
			tab := &nftables.Table{Name: table, Family: family}
			if !slices.ContainsFunc(baseChains[table], func(b baseChain) bool { return b.name == chain }) {
				c.AddChain(&nftables.Chain{Name: chain, Table: tab})
			}
			c.AddRule(&nftables.Rule{Table: tab, Chain: &nftables.Chain{Name: chain, Table: tab}, Exprs: exprs(family)})
		}
		return nil
	})
}

// The rules of others, in both families.

func to(chain string) func(nftables.TableFamily) []expr.Any {
	return func(nftables.TableFamily) []expr.Any {
		return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
	}
}

func always(v expr.VerdictKind) func(nftables.TableFamily) []expr.Any {
	return func(nftables.TableFamily) []expr.Any {
		return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: v}}
	}
}

func rejectAll(nftables.TableFamily) []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 3}}
}

// ifname is a comparison with the name of a device.
func ifname(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, 16)
	copy(padded, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: padded}}
}

// fromTo has two devices: those that start with ! are excluded, "" is any.
func fromTo(in, out string, last expr.Any) func(nftables.TableFamily) []expr.Any {
	return func(nftables.TableFamily) []expr.Any {
		var e []expr.Any
		for key, name := range map[expr.MetaKey]string{expr.MetaKeyIIFNAME: in, expr.MetaKeyOIFNAME: out} {
			if plain, not := strings.CutPrefix(name, "!"); not {
				e = append(e, ifname(key, expr.CmpOpNeq, plain)...)
			} else if name != "" {
				e = append(e, ifname(key, expr.CmpOpEq, name)...)
			}
		}
		return append(e, &expr.Counter{}, last)
	}
}

// dockerMasquerade is dockerd's -s SUBNET ! -o docker0 -j MASQUERADE.
func dockerMasquerade(i int) func(nftables.TableFamily) []expr.Any {
	return func(family nftables.TableFamily) []expr.Any {
		subnet, at := subnet4[i], uint32(12)
		if family == nftables.TableFamilyIPv6 {
			subnet, at = subnet6[i], 8
		}
		addr := subnet.Addr().AsSlice()[:subnet.Bits()/8]
		e := []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: uint32(len(addr))},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr},
		}
		e = append(e, ifname(expr.MetaKeyOIFNAME, expr.CmpOpNeq, "docker0")...)
		return append(e, &expr.Counter{}, &expr.Masq{})
	}
}

// listing is all of nf_tables of a host: tables, chains and rules, in order,
// without handles and counts.
func listing(t *testing.T, h *lab.Host) string {
	t.Helper()
	var b strings.Builder
	onNFT(t, h, func(c *nftables.Conn) error {
		tables, err := c.ListTables()
		if err != nil {
			return err
		}
		for _, table := range tables {
			fmt.Fprintln(&b, "table", table.Family, table.Name)
		}
		chains, err := c.ListChains()
		if err != nil {
			return err
		}
		for _, chain := range chains {
			if err := list(&b, c, chain); err != nil {
				return err
			}
		}
		return nil
	})
	return b.String()
}

func list(b *strings.Builder, c *nftables.Conn, chain *nftables.Chain) error {
	head, err := json.Marshal(chain)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "%s\n", head)
	rules, err := c.GetRules(chain.Table, chain)
	if err != nil {
		return err
	}
	for _, r := range rules {
		for _, e := range r.Exprs {
			if _, counts := e.(*expr.Counter); counts {
				e = &expr.Counter{}
			}
			text, err := json.Marshal(e)
			if err != nil {
				return err
			}
			fmt.Fprintf(b, "  %T%s", e, text)
		}
		fmt.Fprintln(b)
	}
	return nil
}

// handles are the handles of all rules: they change when one is written anew.
func handles(t *testing.T, h *lab.Host) []uint64 {
	t.Helper()
	var all []uint64
	onNFT(t, h, func(c *nftables.Conn) error {
		chains, err := c.ListChains()
		if err != nil {
			return err
		}
		for _, chain := range chains {
			rules, err := c.GetRules(chain.Table, chain)
			if err != nil {
				return err
			}
			for _, r := range rules {
				all = append(all, r.Handle)
			}
		}
		return nil
	})
	return all
}

// flush empties a chain of each family, as an administrator does by hand.
func flush(t *testing.T, h *lab.Host, table, chain string) {
	t.Helper()
	onNFT(t, h, func(c *nftables.Conn) error {
		for _, family := range bothFamilies {
			tab := &nftables.Table{Name: table, Family: family}
			c.FlushChain(&nftables.Chain{Name: chain, Table: tab})
		}
		return nil
	})
}
