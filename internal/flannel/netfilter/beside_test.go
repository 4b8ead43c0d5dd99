//go:build linux

package netfilter_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/nftables/expr"
	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/flannel/netfilter/xtables"
	"github.com/weftnet/weft/internal/lab"
)

// agents are two of one host, each of which learns what the other one wants.
type agents struct {
	keepers [2]keeper
	want    [2][]netfilter.Rules // empty once the agent took its rules back
	err     error
}

func twoAgents(h *lab.Host) *agents {
	a := &agents{}
	for i, other := range []int{1, 0} {
		a.keepers[i] = keeper{h, netfilter.New(zap.NewNop(), func() ([]netfilter.Rules, error) {
			return slices.Clone(a.want[other]), a.err
		})}
	}
	return a
}

func (a *agents) apply(t *testing.T, i int, r netfilter.Rules) {
	t.Helper()
	a.want[i] = []netfilter.Rules{r}
	a.keepers[i].apply(t, r)
}

// elsewhereRules are those of another network that host 1 is a node of.
func elsewhereRules() netfilter.Rules {
	r := rules(0)
	r.Network, r.Subnet = network("10.9.0.0/16"), network("10.9.3.0/24")
	r.Network6, r.Subnet6 = network("fd00:9::/48"), network("fd00:9:0:3::/64")
	return r
}

// TestTwoNetworks: the agents of two networks share the chains, and neither
// undoes what the other one did.
func TestTwoNetworks(t *testing.T) {
	for place, prepare := range map[string]func(*testing.T, *scene){
		"own tables": func(*testing.T, *scene) {},
		"iptables": func(t *testing.T, s *scene) {
			for _, h := range s.h {
				iptablesTable(t, h, "filter")
				iptablesTable(t, h, "nat")
				appendRule(t, h, "filter", "DOCKER", fromTo("!docker0", "docker0", &expr.Verdict{Kind: expr.VerdictDrop}))
				appendRule(t, h, "filter", "FORWARD", to("DOCKER"))
			}
		},
		"iptables-legacy": func(t *testing.T, s *scene) {
			lab.NeedLegacyIptables(t)
			for i, h := range s.h {
				legacyDrop(t, h)
				legacyDockerMasquerade(t, h, i)
				changeLegacy(t, h, "filter", func(f xtables.Family, table *xtables.Table) {
					c := table.AddChain("DOCKER")
					table.Chain("FORWARD").Rules = []*xtables.Rule{f.NewRule(xtables.New{Jump: c})}
				})
			}
		},
	} {
		t.Run(place, func(t *testing.T) {
			lockFile(t)
			s := newScene(t)
			prepare(t, s)
			all := func() string { return listing(t, s.h[0]) + legacyBytes(t, s.h[0], false) }
			newKeeper(s.h[1]).apply(t, rules(1))
			a := twoAgents(s.h[0])
			before := all()
			a.apply(t, 1, elsewhereRules())
			alone := all()
			a.apply(t, 0, rules(0))
			both := all()
			if both == alone {
				t.Fatal("the second network changed nothing")
			}
			s.eachOther(t)
			s.leaves(t)

			written := handles(t, s.h[0])
			for _, k := range a.keepers {
				k.resync(t)
				k.resync(t)
			}
			if now := handles(t, s.h[0]); !slices.Equal(now, written) || all() != both {
				t.Errorf("the two write over each other: there is\n%s\nnot\n%s", all(), both)
			}
			a.want[0] = nil
			a.keepers[0].remove(t)
			if now := all(); now != alone {
				t.Errorf("without the one there is\n%s\nnot\n%s", now, alone)
			}
			a.keepers[1].remove(t)
			if now := all(); now != before {
				t.Errorf("without both there is\n%s\nnot\n%s", now, before)
			}
		})
	}
}

// TestOthersUnknown: while it is not known what the others want, nothing of
// theirs is taken away.
func TestOthersUnknown(t *testing.T) {
	lab.NeedNFTables(t)
	h := lab.TestHost(t, "h")
	a := twoAgents(h)
	a.apply(t, 0, rules(0))
	a.apply(t, 1, elsewhereRules())
	both := listing(t, h)
	a.err = errors.New("half written")
	if err := h.Do(func() error { return a.keepers[0].k.Resync(t.Context()) }); !errors.Is(err, a.err) {
		t.Errorf("%v, not that the others are not known", err)
	}
	if now := listing(t, h); now != both {
		t.Errorf("there is\n%s\nnot\n%s", now, both)
	}
}
