//go:build linux

package netfilter_test

import (
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/flannel/netfilter/legacytest"
	"github.com/weftnet/weft/internal/flannel/netfilter/xtables"
	"github.com/weftnet/weft/internal/lab"
)

// onLegacy changes something of both families of a host.
func onLegacy(t *testing.T, h *lab.Host, change func(xtables.Family) error) {
	t.Helper()
	for _, family := range legacytest.Families {
		check(t, h.Do(func() error { return change(family) }))
	}
}

// changeLegacy changes a table of both families.
func changeLegacy(t *testing.T, h *lab.Host, name string, change func(xtables.Family, *xtables.Table)) {
	t.Helper()
	onLegacy(t, h, func(f xtables.Family) error {
		return legacytest.Change(f, name, func(table *xtables.Table) { change(f, table) })
	})
}

func legacyDrop(t *testing.T, h *lab.Host)   { t.Helper(); onLegacy(t, h, legacytest.Drop) }
func legacyAccept(t *testing.T, h *lab.Host) { t.Helper(); onLegacy(t, h, legacytest.Accept) }

func legacyDockerMasquerade(t *testing.T, h *lab.Host, i int) {
	t.Helper()
	for _, subnet := range []netip.Prefix{subnet4[i], subnet6[i]} {
		check(t, h.Do(func() error { return legacytest.Masquerade(subnet) }))
	}
}

func legacyListing(t *testing.T, h *lab.Host, family xtables.Family, counts bool) (text string) {
	t.Helper()
	check(t, h.Do(func() (err error) {
		text, err = legacytest.Listing(family, counts)
		return err
	}))
	return text
}

func prefixOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
