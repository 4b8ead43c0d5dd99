//go:build linux

package netfilter_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/netfilter"
	"github.com/weftnet/weft/internal/lab"
)

// TestForwardDrop: hosts that drop what they forward, in the chain that
// iptables over nf_tables has.
func TestForwardDrop(t *testing.T) {
	s := newScene(t)
	for _, h := range s.h {
		iptablesTable(t, h, "filter")
		iptablesTable(t, h, "nat")
	}
	s.apart(t)
	before := listing(t, s.h[0])
	var keepers []keeper
	for i, h := range s.h {
		keepers = append(keepers, newKeeper(h))
		keepers[i].apply(t, rules(i))
	}
	s.eachOther(t)
	s.leaves(t)

	written := handles(t, s.h[0])
	keepers[0].resync(t)
	keepers[0].apply(t, rules(0))
	if again := handles(t, s.h[0]); !slices.Equal(again, written) {
		t.Errorf("the rules were written anew though nothing was missing: handles %v, then %v", written, again)
	}

	// A process that knows nothing of the first one takes all back.
	newKeeper(s.h[0]).remove(t)
	if after := listing(t, s.h[0]); after != before {
		t.Errorf("removing left\n%s\nof\n%s", after, before)
	}
	s.apart(t)
}

// TestBareHost: a host without any rules gets flannel's own tables.
func TestBareHost(t *testing.T) {
	s := newScene(t)
	before := listing(t, s.h[0])
	for i, h := range s.h {
		newKeeper(h).apply(t, rules(i))
	}
	s.eachOther(t)
	s.leaves(t)
	newKeeper(s.h[0]).remove(t)
	if after := listing(t, s.h[0]); after != before {
		t.Errorf("removing left\n%s\nof\n%s", after, before)
	}
}

// TestOwnTablesAndDrop: with EnableNFTables the accept is in iptables' FORWARD
// all the same, and dockerd's MASQUERADE has nothing to say.
func TestOwnTablesAndDrop(t *testing.T) {
	s := newScene(t)
	for i, h := range s.h {
		iptablesTable(t, h, "filter")
		iptablesTable(t, h, "nat")
		appendRule(t, h, "nat", "POSTROUTING", dockerMasquerade(i))
		r := rules(i)
		r.NFT = true
		newKeeper(h).apply(t, r)
	}
	s.eachOther(t)
	s.leaves(t)
}

// TestTablesComeLater: the rules move to iptables' tables when somebody starts
// to use them, and back when they go.
func TestTablesComeLater(t *testing.T) {
	s := newScene(t)
	var keepers []keeper
	for i, h := range s.h {
		keepers = append(keepers, newKeeper(h))
		keepers[i].apply(t, rules(i))
	}
	bare := listing(t, s.h[0])
	for i, h := range s.h {
		iptablesTable(t, h, "filter")
		iptablesTable(t, h, "nat")
		keepers[i].resync(t)
	}
	s.eachOther(t)
	s.leaves(t)
	onNFT(t, s.h[0], func(c *nftables.Conn) error {
		c.FlushRuleset()
		return nil
	})
	keepers[0].resync(t)
	if now := listing(t, s.h[0]); now != bare {
		t.Errorf("without iptables' tables there is\n%s\nnot\n%s", now, bare)
	}
	s.eachOther(t)
}

// TestDockerMasquerade: dockerd's rule came first.
func TestDockerMasquerade(t *testing.T) {
	s := newScene(t)
	var keepers []keeper
	for i, h := range s.h {
		iptablesTable(t, h, "nat")
		appendRule(t, h, "nat", "POSTROUTING", dockerMasquerade(i))
		keepers = append(keepers, newKeeper(h))
	}
	// Seed 002's log: the host, not the container.
	sees(t, s.c[0], s.c[1], container(subnet4[1]), host4[0].Addr())
	for i := range s.h {
		r := rules(i)
		r.Masquerade = false
		keepers[i].apply(t, r)
	}
	sees(t, s.c[0], s.c[1], container(subnet4[1]), host4[0].Addr())
	for i := range s.h {
		keepers[i].apply(t, rules(i))
	}
	s.eachOther(t)
	s.leaves(t)
	// dockerd starts again, and puts its rule in front.
	for i, h := range s.h {
		onNFT(t, h, func(c *nftables.Conn) error {
			for _, family := range bothFamilies {
				tab := &nftables.Table{Name: "nat", Family: family}
				c.InsertRule(&nftables.Rule{Table: tab, Chain: &nftables.Chain{Name: "POSTROUTING", Table: tab}, Exprs: dockerMasquerade(i)(family)})
			}
			return nil
		})
		keepers[i].resync(t)
	}
	s.eachOther(t)
}

// TestFlushedByHand: whatever is flushed comes back.
func TestFlushedByHand(t *testing.T) {
	s := newScene(t)
	var keepers []keeper
	for i, h := range s.h {
		iptablesTable(t, h, "filter")
		iptablesTable(t, h, "nat")
		keepers = append(keepers, newKeeper(h))
		keepers[i].apply(t, rules(i))
	}
	whole := listing(t, s.h[0])
	for _, c := range [][2]string{
		{"filter", "FORWARD"}, {"filter", "FLANNEL-FWD"}, {"nat", "POSTROUTING"}, {"nat", "FLANNEL-POSTRTG"},
	} {
		flush(t, s.h[0], c[0], c[1])
		if listing(t, s.h[0]) == whole {
			t.Fatalf("flushing %v changed nothing", c)
		}
		keepers[0].resync(t)
		if now := listing(t, s.h[0]); now != whole {
			t.Fatalf("after flushing %v there is\n%s\nnot\n%s", c, now, whole)
		}
	}
	s.eachOther(t)
}

// TestAnotherNetwork: the rules of an earlier network go.
func TestAnotherNetwork(t *testing.T) {
	s := newScene(t)
	h := s.h[0]
	iptablesTable(t, h, "filter")
	iptablesTable(t, h, "nat")
	newKeeper(h).apply(t, rules(0))
	want := listing(t, h)
	earlier := rules(0)
	earlier.Network, earlier.Subnet = network("10.0.0.0/19"), network("10.0.2.0/25")
	earlier.Network6, earlier.Subnet6 = network("fd00:9::/50"), network("fd00:9::/66")
	newKeeper(h).apply(t, earlier)
	if listing(t, h) == want {
		t.Fatal("two networks have the same rules")
	}
	again := handles(t, h)
	newKeeper(h).apply(t, earlier)
	if now := handles(t, h); !slices.Equal(now, again) {
		t.Errorf("rules of prefixes that are no whole bytes are not known again")
	}
	newKeeper(h).apply(t, rules(0))
	if now := listing(t, h); now != want {
		t.Errorf("after another network there is\n%s\nnot\n%s", now, want)
	}
	none := netfilter.Rules{Network: network4, Subnet: subnet4[0]}
	newKeeper(h).apply(t, none)
	fresh := newScene(t).h[0]
	iptablesTable(t, fresh, "filter")
	iptablesTable(t, fresh, "nat")
	if now, want := listing(t, h), listing(t, fresh); now != want {
		t.Errorf("rules that want nothing left\n%s\nof\n%s", now, want)
	}
}

// TestRejectAtTheEnd: a rule that ends every packet's way is no obstacle, be it
// in FORWARD or in a chain that it leads to; a policy before it keeps its say.
func TestRejectAtTheEnd(t *testing.T) {
	for _, nested := range []bool{false, true} {
		s := newScene(t)
		for i, h := range s.h {
			iptablesTable(t, h, "filter")
			appendRule(t, h, "filter", "POLICY", fromTo("eth0", "docker0", &expr.Verdict{Kind: expr.VerdictReturn}))
			if nested {
				appendRule(t, h, "filter", "LAST", always(expr.VerdictDrop))
				appendRule(t, h, "filter", "FORWARD", to("POLICY"))
				appendRule(t, h, "filter", "FORWARD", to("LAST"))
			} else {
				appendRule(t, h, "filter", "FORWARD", to("POLICY"))
				appendRule(t, h, "filter", "FORWARD", rejectAll)
			}
			newKeeper(h).apply(t, rules(i))
		}
		s.eachOther(t)
		flush(t, s.h[1], "filter", "POLICY")
		appendRule(t, s.h[1], "filter", "POLICY", fromTo("eth0", "docker0", &expr.Verdict{Kind: expr.VerdictDrop}))
		newKeeper(s.h[1]).apply(t, rules(1))
		dropped(t, s.c[0], s.c[1], container(subnet4[1]))
		sees(t, s.c[1], s.c[0], container(subnet4[0]), container(subnet4[1]))
	}
}

// otherBridge is another network of dockerd's, whose container it returns.
func otherBridge(t *testing.T, h *lab.Host) *lab.Host {
	t.Helper()
	c := lab.TestHost(t, "elsewhere")
	check(t, h.AddBridge("docker1"))
	check(t, h.AddAddr("docker1", network("172.18.0.1/16")))
	check(t, lab.Connect(lab.Port{Host: h, Dev: "veth1"}, lab.Port{Host: c, Addrs: []netip.Prefix{network("172.18.0.2/16")}}))
	check(t, h.SetMaster("docker1", "veth1"))
	check(t, c.AddRoute(network("0.0.0.0/0"), "eth0", netip.MustParseAddr("172.18.0.1")))
	return c
}

// TestDockerDropsUnpublished: dockerd drops what does not come by its bridge,
// before an appended jump is reached. Between containers that is undone, and
// nothing else is.
func TestDockerDropsUnpublished(t *testing.T) {
	s := newScene(t)
	var keepers []keeper
	for _, h := range s.h {
		iptablesTable(t, h, "filter")
		iptablesTable(t, h, "nat")
		appendRule(t, h, "filter", "DOCKER-USER", always(expr.VerdictReturn))
		appendRule(t, h, "filter", "DOCKER", fromTo("!docker0", "docker0", &expr.Verdict{Kind: expr.VerdictDrop}))
		appendRule(t, h, "filter", "DOCKER-FORWARD", fromTo("docker0", "docker1", &expr.Verdict{Kind: expr.VerdictDrop}))
		appendRule(t, h, "filter", "DOCKER-FORWARD", fromTo("", "docker0", &expr.Verdict{Kind: expr.VerdictJump, Chain: "DOCKER"}))
		appendRule(t, h, "filter", "DOCKER-FORWARD", fromTo("docker0", "", &expr.Verdict{Kind: expr.VerdictAccept}))
		appendRule(t, h, "filter", "FORWARD", to("DOCKER-USER"))
		appendRule(t, h, "filter", "FORWARD", to("DOCKER-FORWARD"))
		keepers = append(keepers, newKeeper(h))
	}
	elsewhere := otherBridge(t, s.h[0])
	s.apart(t)
	for i := range s.h {
		keepers[i].apply(t, rules(i))
	}
	s.eachOther(t)
	check(t, s.outside.AddRoute(subnet4[0], "eth0", host4[0].Addr()))
	dropped(t, s.outside, s.c[0], container(subnet4[0]))
	dropped(t, s.c[0], elsewhere, netip.MustParseAddr("172.18.0.2"))
	written := handles(t, s.h[0])
	keepers[0].resync(t)
	newKeeper(s.h[0]).apply(t, rules(0))
	if again := handles(t, s.h[0]); !slices.Equal(again, written) {
		t.Error("the two jumps were written anew")
	}

	// dockerd goes, and with it what the second jump was for.
	withDocker := len(jumpsTo(t, s.h[0], "FLANNEL-FWD"))
	onNFT(t, s.h[0], func(c *nftables.Conn) error {
		for _, r := range jumpsTo(t, s.h[0], "DOCKER-FORWARD") {
			check(t, c.DelRule(r))
		}
		return nil
	})
	keepers[0].resync(t)
	if now := len(jumpsTo(t, s.h[0], "FLANNEL-FWD")); withDocker != 4 || now != 2 {
		t.Errorf("%d jumps of both families with dockerd and %d without, not 4 and 2", withDocker, now)
	}
}

// jumpsTo are the rules of FORWARD that lead to a chain.
func jumpsTo(t *testing.T, h *lab.Host, chain string) []*nftables.Rule {
	t.Helper()
	var found []*nftables.Rule
	onNFT(t, h, func(c *nftables.Conn) error {
		for _, family := range bothFamilies {
			tab := &nftables.Table{Name: "filter", Family: family}
			rules, err := c.GetRules(tab, &nftables.Chain{Name: "FORWARD", Table: tab})
			if err != nil {
				return err
			}
			for _, r := range rules {
				if v, ok := r.Exprs[len(r.Exprs)-1].(*expr.Verdict); ok && v.Chain == chain {
					found = append(found, r)
				}
			}
		}
		return nil
	})
	return found
}

// TestKernelWithoutExtensions: where nf_tables lacks those of iptables, the
// accept is in FORWARD without its comment, and the masquerade in flannel's own
// table.
func TestKernelWithoutExtensions(t *testing.T) {
	s := newScene(t)
	for i, h := range s.h {
		iptablesTable(t, h, "filter")
		iptablesTable(t, h, "nat")
		appendRule(t, h, "nat", "POSTROUTING", dockerMasquerade(i))
		k := newKeeper(h)
		k.k.WithoutExtensions()
		k.apply(t, rules(i))
		written := handles(t, h)
		k.resync(t)
		if again := handles(t, h); !slices.Equal(again, written) {
			t.Error("the rules were written anew")
		}
	}
	if all := listing(t, s.h[0]); strings.Contains(all, "expr.Match") || strings.Contains(all, "expr.Target") {
		t.Errorf("extensions in\n%s", all)
	}
	s.eachOther(t)
	s.leaves(t)
}

// TestSettled: that nothing changed since the last look is known without
// looking, and that something did is noticed.
func TestSettled(t *testing.T) {
	lab.NeedNFTables(t)
	h := lab.TestHost(t, "h")
	iptablesTable(t, h, "filter")
	k := newKeeper(h)
	k.apply(t, rules(0))
	want := listing(t, h)
	for range 3 {
		k.resync(t)
		k.resync(t)
		flush(t, h, "filter", "FORWARD")
		k.resync(t)
		if now := listing(t, h); now != want {
			t.Fatalf("there is\n%s\nnot\n%s", now, want)
		}
	}
}

// TestFlanneldsOwnTables: those of a flanneld that was there before are brought
// to what they should be, and go.
func TestFlanneldsOwnTables(t *testing.T) {
	lab.NeedNFTables(t)
	h := lab.TestHost(t, "h")
	k := newKeeper(h)
	k.apply(t, rules(0))
	want := listing(t, h)
	k.remove(t)
	before := listing(t, h)
	onNFT(t, h, func(c *nftables.Conn) error {
		for i, family := range bothFamilies {
			table := c.AddTable(&nftables.Table{Name: []string{"flannel-ipv4", "flannel-ipv6"}[i], Family: family})
			c.AddChain(&nftables.Chain{Name: "forward", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
			post := c.AddChain(&nftables.Chain{Name: "postrtg", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
			c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: []expr.Any{&expr.Counter{}, &expr.Masq{}}})
		}
		return nil
	})
	k.apply(t, rules(0))
	if now := listing(t, h); now != want {
		t.Errorf("after flanneld there is\n%s\nnot\n%s", now, want)
	}
	k.remove(t)
	if now := listing(t, h); now != before {
		t.Errorf("removing left\n%s", now)
	}
}

// TestOthersDrop: that a chain drops in which nothing may be written is told,
// once.
func TestOthersDrop(t *testing.T) {
	lab.NeedNFTables(t)
	h := lab.TestHost(t, "h")
	iptablesTable(t, h, "filter") // whose FORWARD drops, too
	policy := nftables.ChainPolicyDrop
	chain := nftables.Chain{
		Name: "forward", Table: &nftables.Table{Name: "filter", Family: nftables.TableFamilyINet},
		Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &policy,
	}
	onNFT(t, h, func(c *nftables.Conn) error {
		c.AddTable(chain.Table)
		c.AddChain(&chain)
		return nil
	})
	core, logged := observer.New(zap.WarnLevel)
	k := keeper{h, netfilter.New(zap.New(core), nil)}
	k.apply(t, rules(0))
	k.apply(t, rules(0))
	k.resync(t)
	if logged.Len() != 1 || logged.All()[0].ContextMap()["chains"] != "inet filter forward" {
		t.Errorf("the log has %v", logged.All())
	}
}

// TestNotAllowed: who may not change the rules is told what it takes.
func TestNotAllowed(t *testing.T) {
	h := lab.TestHost(t, "h")
	err := h.Do(func() error {
		return withoutCapabilities(func() error {
			return netfilter.New(zap.NewNop(), nil).Apply(context.Background(), rules(0))
		})
	})
	if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("%v does not name CAP_NET_ADMIN", err)
	}
}

// withoutCapabilities runs f on a thread that has none, for which it is called
// on a thread of its own.
func withoutCapabilities(f func() error) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		return err
	}
	none := had
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&header, &none[0]); err != nil {
		return err
	}
	return errors.Join(f(), unix.Capset(&header, &had[0]))
}

// TestRandomFully: ports are chosen at random, or are not, in each place.
func TestRandomFully(t *testing.T) {
	lab.NeedNFTables(t)
	for _, iptables := range []bool{false, true} {
		for _, random := range []bool{false, true} {
			h := lab.TestHost(t, "h")
			if iptables {
				iptablesTable(t, h, "nat")
			}
			r := rules(0)
			r.RandomFully = random
			k := newKeeper(h)
			k.apply(t, r)
			text := listing(t, h)
			// Of the IPv4 and the IPv6 table, as the library prints expressions;
			// the extension for IPv6 it leaves in bytes.
			marks := []string{`"FullyRandom":true`, `"FullyRandom":true`}
			if iptables {
				marks = []string{`"Flags":16`, `"Info":"EAAAAA`}
			}
			for _, mark := range marks {
				if strings.Contains(text, mark) != random {
					t.Errorf("random %v, iptables %v: %s in\n%s", random, iptables, mark, text)
				}
			}
			written := handles(t, h)
			k.apply(t, r)
			if again := handles(t, h); !slices.Equal(again, written) {
				t.Error("the rules were written anew")
			}
			r.RandomFully = !random
			k.apply(t, r)
			if listing(t, h) == text {
				t.Errorf("random %v, iptables %v: nothing changed with it", random, iptables)
			}
		}
	}
}
