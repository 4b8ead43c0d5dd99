//go:build linux

package netfilter_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/flannel/netfilter/legacytest"
	"github.com/weftnet/weft/internal/flannel/netfilter/xtables"
	"github.com/weftnet/weft/internal/lab"
)

// legacyScene has hosts where iptables-legacy drops what is forwarded, and
// dockerd's MASQUERADE is the first of nat.
func legacyScene(t *testing.T) *scene {
	t.Helper()
	lab.NeedLegacyIptables(t)
	lockFile(t)
	s := newScene(t)
	for i, h := range s.h {
		legacyDrop(t, h)
		legacyDockerMasquerade(t, h, i)
	}
	return s
}

func TestLegacy(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*testing.T, *scene)
		change  func(keeper, *netfilter.Rules)
		nft     string // what of ours must and ("!") must not be in nf_tables
	}{
		"alone":         {nft: "!flannel-ipv4 !FLANNEL"},
		"kernel no nft": {change: func(k keeper, _ *netfilter.Rules) { k.k.WithoutNFT() }, nft: "!flannel-ipv4 !FLANNEL"},
		"nft too": {
			prepare: func(t *testing.T, s *scene) {
				for i, h := range s.h {
					iptablesTable(t, h, "filter")
					iptablesTable(t, h, "nat")
					appendRule(t, h, "nat", "POSTROUTING", dockerMasquerade(i))
				}
			},
			nft: "!flannel-ipv4 FLANNEL-FWD FLANNEL-POSTRTG",
		},
		"EnableNFTables": {change: func(_ keeper, r *netfilter.Rules) { r.NFT = true }, nft: "flannel-ipv4 !FLANNEL"},
	} {
		t.Run(name, func(t *testing.T) {
			s := legacyScene(t)
			if c.prepare != nil {
				c.prepare(t, s)
			}
			s.apart(t)
			before := legacyListing(t, s.h[0], xtables.IPv4, true) + legacyListing(t, s.h[0], xtables.IPv6, false) + listing(t, s.h[0])
			for i, h := range s.h {
				r, k := rules(i), newKeeper(h)
				if c.change != nil {
					c.change(k, &r)
				}
				k.apply(t, r)
				if i == 0 { // without a packet between the two, and so with all counts
					k.remove(t)
					after := legacyListing(t, h, xtables.IPv4, true) + legacyListing(t, h, xtables.IPv6, false) + listing(t, h)
					if after != before {
						t.Errorf("removing left\n%s\nof\n%s", after, before)
					}
					k.apply(t, r)
				}
			}
			s.eachOther(t)
			s.leaves(t)
			text := listing(t, s.h[0])
			for _, word := range strings.Fields(c.nft) {
				if plain, not := strings.CutPrefix(word, "!"); strings.Contains(text, plain) == not {
					t.Errorf("%q in nf_tables:\n%s", word, text)
				}
			}
		})
	}
}

// TestLegacyLoaded: tables that are loaded, because somebody listed them, and
// hold nothing, are no use of iptables-legacy.
func TestLegacyLoaded(t *testing.T) {
	lab.NeedLegacyIptables(t)
	lockFile(t)
	h := lab.TestHost(t, "h")
	changeLegacy(t, h, "filter", func(xtables.Family, *xtables.Table) {})
	changeLegacy(t, h, "nat", func(xtables.Family, *xtables.Table) {})
	before := legacyListing(t, h, xtables.IPv4, false)
	k := newKeeper(h)
	k.apply(t, rules(0))
	if after := legacyListing(t, h, xtables.IPv4, false); after != before {
		t.Errorf("there are rules in\n%s", after)
	}
	if text := listing(t, h); !strings.Contains(text, "flannel-ipv4") {
		t.Errorf("there is no own table in\n%s", text)
	}
	// Then somebody starts to use them, and stops.
	bare := listing(t, h)
	legacyDrop(t, h)
	legacyDockerMasquerade(t, h, 0)
	k.resync(t)
	if text := listing(t, h); strings.Contains(text, "flannel-ipv4") {
		t.Errorf("the own table is still there:\n%s", text)
	}
	for _, name := range []string{"filter", "nat"} {
		changeLegacy(t, h, name, func(_ xtables.Family, table *xtables.Table) {
			for _, c := range table.Chains {
				c.Rules = slices.DeleteFunc(c.Rules, func(r *xtables.Rule) bool { return r.Target() == "MASQUERADE" && c.BuiltIn() })
			}
		})
	}
	legacyAccept(t, h)
	k.resync(t)
	if after := legacyListing(t, h, xtables.IPv4, false); after != before {
		t.Errorf("unused, iptables-legacy has\n%s\nnot\n%s", after, before)
	}
	if text := listing(t, h); text != bare {
		t.Errorf("with iptables-legacy unused again there is\n%s\nnot\n%s", text, bare)
	}
}

// TestLegacyNotAsked: no table is made by looking.
func TestLegacyNotAsked(t *testing.T) {
	lab.NeedLegacyIptables(t)
	h := lab.TestHost(t, "h")
	newKeeper(h).apply(t, rules(0))
	newKeeper(h).remove(t)
	check(t, h.Do(func() error {
		for _, f := range legacytest.Families {
			if names, err := xtables.Loaded(f); err != nil || len(names) > 0 {
				t.Errorf("tables %v were made (%v)", names, err)
			}
		}
		return nil
	}))
}

// TestLegacyFlushed: what is flushed by hand comes back, and the rules of
// others go on counting where they were.
func TestLegacyFlushed(t *testing.T) {
	s := legacyScene(t)
	h := s.h[0]
	k := newKeeper(h)
	for i, h := range s.h {
		newKeeper(h).apply(t, rules(i))
	}
	s.leaves(t) // so that something was counted
	whole := legacyListing(t, h, xtables.IPv4, false) + legacyListing(t, h, xtables.IPv6, false)
	k.apply(t, rules(0))
	for _, c := range [][2]string{{"filter", "FORWARD"}, {"filter", "FLANNEL-FWD"}, {"nat", "POSTROUTING"}, {"nat", "FLANNEL-POSTRTG"}} {
		changeLegacy(t, h, c[0], func(_ xtables.Family, table *xtables.Table) { table.Chain(c[1]).Rules = nil })
		if c[1] == "POSTROUTING" {
			legacyDockerMasquerade(t, h, 0)
		}
		k.resync(t)
		if now := legacyListing(t, h, xtables.IPv4, false) + legacyListing(t, h, xtables.IPv6, false); now != whole {
			t.Fatalf("after flushing %v there is\n%s\nnot\n%s", c, now, whole)
		}
	}
	s.eachOther(t)
	counted := legacyListing(t, h, xtables.IPv4, true)
	k.resync(t)
	newKeeper(h).apply(t, rules(0))
	if now := legacyListing(t, h, xtables.IPv4, true); now != counted {
		t.Errorf("with nothing missing the counts went from\n%s\nto\n%s", counted, now)
	}
}

// TestLegacyPosition: the obstacles that there are in nf_tables' FORWARD.
func TestLegacyPosition(t *testing.T) {
	s := legacyScene(t)
	for i, h := range s.h {
		changeLegacy(t, h, "filter", func(f xtables.Family, table *xtables.Table) {
			docker, last := table.AddChain("DOCKER-FORWARD"), table.AddChain("ZLAST")
			subnet, network := subnet4[i], network4
			if f == xtables.IPv6 {
				subnet, network = subnet6[i], network6
			}
			drop := xtables.Extension{Name: "REJECT", Data: make([]byte, 4)}
			docker.Rules = append(docker.Rules, f.NewRule(xtables.New{Destination: subnet, Target: drop}))
			last.Rules = append(last.Rules, f.NewRule(xtables.New{Target: drop}))
			forward := table.Chain("FORWARD")
			policy := xtables.New{Source: prefixOf(container(subnet)), Destination: network, Target: drop}
			if i == 0 {
				policy.Source = prefixOf(bridge(subnet)) // whom nobody is
			}
			forward.Rules = append(forward.Rules, f.NewRule(policy),
				f.NewRule(xtables.New{Jump: docker}), f.NewRule(xtables.New{Jump: last}))
		})
		newKeeper(h).apply(t, rules(i))
	}
	// Host 2 forbids its container to begin; all else passes.
	sees(t, s.c[0], s.c[1], container(subnet4[1]), container(subnet4[0]))
	sees(t, s.c[0], s.c[1], container(subnet6[1]), container(subnet6[0]))
	dropped(t, s.c[1], s.c[0], container(subnet4[0]))
	sees(t, s.c[0], s.outside, out4.Addr(), host4[0].Addr())
	check(t, s.outside.AddRoute(subnet4[0], "eth0", host4[0].Addr()))
	dropped(t, s.outside, s.c[0], container(subnet4[0]))
}

// TestLegacyLock: while a program has iptables' lock, the table is let alone.
func TestLegacyLock(t *testing.T) {
	lab.NeedLegacyIptables(t)
	lockFile(t)
	h := lab.TestHost(t, "h")
	legacyDrop(t, h)
	f, err := os.OpenFile(os.Getenv("XTABLES_LOCKFILE"), os.O_CREATE|os.O_RDONLY, 0o600)
	check(t, err)
	defer f.Close()
	check(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	k := newKeeper(h)
	ctx, stop := context.WithTimeout(context.Background(), shut)
	defer stop()
	before := legacyListing(t, h, xtables.IPv4, false)
	err = h.Do(func() error { return k.k.Apply(ctx, rules(0)) })
	if err == nil || !strings.Contains(err.Error(), os.Getenv("XTABLES_LOCKFILE")) {
		t.Errorf("%v does not name the lock", err)
	}
	if now := legacyListing(t, h, xtables.IPv4, false); now != before {
		t.Error("the table was changed")
	}
	ended := make(chan error, 1)
	go func() { ended <- h.Do(func() error { return k.k.Apply(context.Background(), rules(0)) }) }()
	check(t, unix.Flock(int(f.Fd()), unix.LOCK_UN))
	select {
	case err := <-ended:
		check(t, err)
	case <-time.After(patience):
		t.Fatal("the lock was given up and is not taken")
	}
	if now := legacyListing(t, h, xtables.IPv4, false); now == before {
		t.Error("the table was not changed")
	}
}

// TestNothingMade: where there is no nf_tables and nothing to take away, no
// table is made for it.
func TestNothingMade(t *testing.T) {
	lab.NeedLegacyIptables(t)
	h := lab.TestHost(t, "h")
	k := newKeeper(h)
	k.k.WithoutNFT()
	k.remove(t)
	check(t, h.Do(func() error {
		if names, err := xtables.Loaded(xtables.IPv4); err != nil || len(names) > 0 {
			t.Errorf("tables %v were made (%v)", names, err)
		}
		return nil
	}))
}
