//go:build linux

package netfilter

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/weftnet/weft/internal/flannel/netfilter/xtables"
)

// legacy brings one family of iptables-legacy to what is wanted.
type legacy struct {
	side
	sock   *xtables.Socket
	loaded map[string]bool
	wrote  []string
}

// openLegacy opens the tables that the namespace has. Where it has none there
// is nothing to be asked, since asking would make one, and it returns nil,
// unless some are to be made.
func openLegacy(s side, made bool) (*legacy, error) {
	names, err := xtables.Loaded(xtables.Family(s.v6))
	if err != nil || len(names) == 0 && !made {
		return nil, err
	}
	l := &legacy{side: s, loaded: map[string]bool{}}
	for _, name := range names {
		l.loaded[name] = true
	}
	l.sock, err = xtables.Open(xtables.Family(s.v6))
	return l, err
}

func (l *legacy) close() { _ = l.sock.Close() }

// inUse reports whether the purpose's table holds anything of others: a rule,
// a chain, or a policy. Merely loaded it may be because somebody listed it.
func (l *legacy) inUse(p *purpose) (bool, error) {
	if !l.loaded[p.table] {
		return false, nil
	}
	t, err := l.sock.Read(p.table)
	if err != nil {
		return false, err
	}
	for _, c := range t.Chains {
		if c.Name == p.chain {
			continue
		}
		ours := func(r *xtables.Rule) bool { return legacyOurs(r, p) }
		if !c.BuiltIn() || !c.Accepts() || slices.ContainsFunc(c.Rules, func(r *xtables.Rule) bool { return !ours(r) }) {
			return true, nil
		}
	}
	return false, nil
}

// sync brings a table to the rules; without any, ours go. The table is read
// once more under iptables' lock if there is something to be done.
func (l *legacy) sync(ctx context.Context, p *purpose, want content) error {
	if want.rules == nil && !l.loaded[p.table] {
		return nil
	}
	if changed, _, err := l.planned(p, want); err != nil || !changed {
		return err
	}
	unlock, err := lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	changed, t, err := l.planned(p, want)
	if err != nil || !changed {
		return err
	}
	if err := l.sock.Replace(t); err != nil {
		return err
	}
	name := "iptables-legacy "
	if l.v6 {
		name = "ip6tables-legacy "
	}
	l.wrote = append(l.wrote, name+p.table+" "+p.chain)
	return nil
}

// lockPatience is how long iptables' lock is waited for. iptables holds it for
// milliseconds, and its save and restore for seconds where there are very many
// rules.
const lockPatience = 10 * time.Second

func lock(ctx context.Context) (unlock func(), err error) {
	ctx, done := context.WithTimeout(ctx, lockPatience)
	defer done()
	return xtables.Lock(ctx)
}

// planned is the table as it should be, and whether that is a change.
func (l *legacy) planned(p *purpose, want content) (bool, *xtables.Table, error) {
	t, err := l.sock.Read(p.table)
	if err != nil {
		return false, nil, err
	}
	base := t.Chain(p.base)
	if base == nil {
		return false, nil, errors.New("table " + p.table + " has no " + p.base)
	}
	if want.rules == nil {
		return l.planRemoval(p, t), t, nil
	}
	changed := l.planRules(p, t, want.rules)
	if l.planJumps(p, t, base, want.networks) {
		changed = true
	}
	return changed, t, nil
}

func (l *legacy) planRemoval(p *purpose, t *xtables.Table) bool {
	changed := false
	for _, c := range t.Chains {
		before := len(c.Rules)
		c.Rules = slices.DeleteFunc(c.Rules, func(r *xtables.Rule) bool {
			to := r.Jump()
			return to != nil && to.Name == p.chain || c.Name == p.base && legacyOurs(r, p)
		})
		changed = changed || len(c.Rules) != before
	}
	if c := t.Chain(p.chain); c != nil {
		t.RemoveChain(c)
		changed = true
	}
	return changed
}

func (l *legacy) planRules(p *purpose, t *xtables.Table, rules []rule) bool {
	c := t.Chain(p.chain)
	isNew := c == nil
	if isNew {
		c = t.AddChain(p.chain)
	}
	want := make([]*xtables.Rule, len(rules))
	for i, r := range rules {
		want[i] = l.rule(p, r)
	}
	if !isNew && slices.EqualFunc(c.Rules, want, (*xtables.Rule).Equal) {
		return false
	}
	c.Rules = want
	return true
}

// rule writes a rule down as iptables does.
func (l *legacy) rule(p *purpose, r rule) *xtables.Rule {
	n := xtables.New{
		Source: r.src.prefix, NotSource: r.src.not,
		Destination: r.dst.prefix, NotDestination: r.dst.not,
	}
	if r.marked {
		n.Matches = append(n.Matches, xtables.Extension{Name: "mark", Revision: 1, Data: xtMark(kubeMark)})
	}
	n.Matches = append(n.Matches, xtables.Extension{Name: "comment", Data: xtComment(p.comment)})
	switch r.verdict {
	case accepted, keepsSource:
		n.Accept = true
	case masqueraded, masqRandomly:
		n.Target = xtables.Extension{Name: "MASQUERADE", Data: xtMasquerade(l.v6, r.verdict == masqRandomly)}
	case passedOn:
	}
	return xtables.Family(l.v6).NewRule(n)
}

func (l *legacy) planJumps(p *purpose, t *xtables.Table, base *xtables.Chain, networks []netip.Prefix) bool {
	note := []xtables.Extension{{Name: "comment", Data: xtComment(p.comment)}}
	f, to := xtables.Family(l.v6), t.Chain(p.chain)
	all := f.NewRule(xtables.New{Matches: note, Jump: to})
	inner := make([]*xtables.Rule, len(networks))
	for i, network := range networks {
		inner[i] = f.NewRule(xtables.New{Matches: note, Jump: to, Source: network, Destination: network})
	}
	var others []*xtables.Rule
	var have []jump
	for _, r := range base.Rules {
		if !legacyOurs(r, p) {
			others = append(others, r)
			continue
		}
		have = append(have, jump{all: r.Equal(all), inner: slices.IndexFunc(inner, r.Equal), before: len(others)})
	}
	at := p.spots(legacySteps(others), func(chain string) []step { return legacySteps(t.Chain(chain).Rules) })
	if at.inPlace(have, len(networks)) {
		return false
	}
	base.Rules = slices.Insert(others, at.all, all)
	if at.inner >= 0 && at.inner < at.all {
		base.Rules = slices.Insert(base.Rules, at.inner, inner...)
	}
	return true
}

// legacyOurs reports whether a rule leads to the purpose's chain, or has its
// comment as the rules of older flannels do.
func legacyOurs(r *xtables.Rule, p *purpose) bool {
	if to := r.Jump(); to != nil && to.Name == p.chain {
		return true
	}
	return slices.ContainsFunc(r.Matches(), func(m xtables.Extension) bool {
		return m.Name == "comment" && bytes.Equal(m.Data, xtComment(p.comment))
	})
}

func legacySteps(rules []*xtables.Rule) []step {
	steps := make([]step, len(rules))
	for i, r := range rules {
		steps[i] = legacyStep(r)
	}
	return steps
}

func legacyStep(r *xtables.Rule) step {
	s := step{always: r.Always() && !slices.ContainsFunc(r.Matches(), func(m xtables.Extension) bool { return m.Name != "comment" })}
	switch to := r.Jump(); {
	case to != nil:
		s.does, s.to = jumps, to.Name
	case r.Ends():
		s.does = ends
	case r.Returns():
		s.does = returns
	default:
		s.does = targetAction(r.Target())
	}
	return s
}
