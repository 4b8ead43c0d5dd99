package nodes

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/flannel/netfilter/legacytest"
	"github.com/weftnet/weft/internal/flannel/netfilter/xtables"
	"github.com/weftnet/weft/internal/lab"
)

// Hosts as in TestDockerHosts, but that all of it is iptables-legacy's: so are
// weft's rules, and nf_tables has none; they come back when everything was flushed
// by hand, and go with the clean-up.
func TestLegacyDockerHosts(t *testing.T) {
	t.Parallel()
	lab.NeedLegacyIptables(t)
	lab.NeedNFTables(t)
	eachDatapath(t, func(t *testing.T, datapath string) {
		o := newDockerHosts(t, overVXLAN, (*node).legacyDockerTables, "--ip-masq", "--datapath="+datapath)
		for _, n := range o.nodes[:2] { // docker's rule comes before weft's now
			n.legacyMasquerade()
		}
		o.checkLegacy()

		for _, n := range o.nodes[:2] {
			n.flushLegacy()
			n.legacyMasquerade()
		}
		o.checkLegacy()

		n, untouched := o.nodes[1], o.nodes[2]
		n.dropMasquerade()
		n.signal(syscall.SIGTERM)
		if out := n.run(append([]string{"agent", "--cleanup"}, n.flags()...)...); out.Status != 0 {
			t.Error(out)
		}
		untouched.legacyDockerTables()
		if left, want := n.legacyListing(), untouched.legacyListing(); left != want {
			t.Errorf("the clean-up leaves\n%s\nand there was\n%s", left, want)
		}
	})
}

// checkLegacy is checkTraffic without a service, and without a rule in nf_tables.
func (o *overlay) checkLegacy() {
	o.t.Helper()
	o.reach()
	outside := o.nodes[2]
	o.seen(o.containers[0], o.containers[1], o.addrs[1], o.addrs[0])
	o.seen(o.containers[0], outside.Host, outside.addr, o.nodes[0].addr)
	for _, n := range o.nodes[:2] {
		eventually(o.t, func() error { // weft's were in nf_tables while docker had none in nat
			if rules := n.rules(); rules != 0 {
				return fmt.Errorf("%s: %d rules in nf_tables", n.Name, rules)
			}
			return nil
		})
	}
}

// legacyDockerTables has FORWARD drop, and makes the table that docker's rule is in.
func (n *node) legacyDockerTables() {
	n.t.Helper()
	check(n.t, n.Do(func() error { return legacytest.Drop(xtables.IPv4) }))
	n.changeLegacy("nat", func(*xtables.Table) {})
}

func (n *node) legacyMasquerade() {
	n.t.Helper()
	subnet := n.file().Subnet.Masked()
	check(n.t, n.Do(func() error { return legacytest.Masquerade(subnet) }))
}

func (n *node) dropMasquerade() {
	n.t.Helper()
	n.changeLegacy("nat", func(t *xtables.Table) {
		c := t.Chain("POSTROUTING")
		c.Rules = slices.DeleteFunc(c.Rules, func(r *xtables.Rule) bool { return r.Target() == "MASQUERADE" })
	})
}

// flushLegacy is `iptables -F` and `iptables -t nat -F`.
func (n *node) flushLegacy() {
	n.t.Helper()
	for _, table := range []string{"filter", "nat"} {
		n.changeLegacy(table, func(t *xtables.Table) {
			for _, c := range t.Chains {
				c.Rules = nil
			}
		})
	}
}

func (n *node) changeLegacy(table string, change func(*xtables.Table)) {
	n.t.Helper()
	check(n.t, n.Do(func() error { return legacytest.Change(xtables.IPv4, table, change) }))
}

func (n *node) legacyListing() (text string) {
	n.t.Helper()
	check(n.t, n.Do(func() (err error) {
		text, err = legacytest.Listing(xtables.IPv4, false)
		return err
	}))
	return text
}
