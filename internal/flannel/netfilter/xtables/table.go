//go:build linux

package xtables

import "slices"

// Table is one of iptables' tables, taken apart.
type Table struct {
	Family Family
	Name   string
	Chains []*Chain // those that hooks lead to first, then those of users

	validHooks uint32
	entries    int   // that the kernel had when it was read
	end        *Rule // the ERROR after the last chain
}

// Chain holds rules.
type Chain struct {
	Name  string
	Rules []*Rule

	hook int   // of the kernel, -1 in a chain of a user's
	head *Rule // nil where a hook leads to the chain
	end  *Rule // its policy, or its RETURN
}

// BuiltIn reports whether a hook of the kernel leads to the chain.
func (c *Chain) BuiltIn() bool { return c.hook >= 0 }

// Accepts reports whether the policy is to accept.
func (c *Chain) Accepts() bool {
	v, _ := c.end.verdict()
	return v == verdictAccept
}

// hookNames are those of the chains that hooks lead to.
var hookNames = [hooks]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// Chain finds a chain by its name; nil if there is none.
func (t *Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// AddChain makes a chain of a user's, where iptables would put it: they are
// sorted by name.
func (t *Table) AddChain(name string) *Chain {
	c := &Chain{
		Name: name, hook: -1,
		head: t.Family.made(extension("ERROR", 0, append([]byte(name), make([]byte, errorNameLen-len(name))...))),
		end:  t.Family.made(extension("", 0, verdictBytes(verdictReturn))),
	}
	at := len(t.Chains)
	for i, other := range t.Chains {
		if !other.BuiltIn() && other.Name > name {
			at = i
			break
		}
	}
	t.Chains = slices.Insert(t.Chains, at, c)
	return c
}

// RemoveChain takes a chain away. It must have no rules that lead to it.
func (t *Table) RemoveChain(c *Chain) {
	t.Chains = slices.DeleteFunc(t.Chains, func(other *Chain) bool { return other == c })
}
