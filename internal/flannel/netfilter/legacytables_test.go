//go:build linux

package netfilter_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/flannel/netfilter/xtables"
	"github.com/weftnet/weft/internal/lab"
)

var legacyFamilies = []xtables.Family{xtables.IPv4, xtables.IPv6}

// onLegacy runs f with iptables-legacy of a host.
func onLegacy(t *testing.T, h *lab.Host, family xtables.Family, f func(*xtables.Socket) error) {
	t.Helper()
	check(t, h.Do(func() error {
		s, err := xtables.Open(family)
		if err != nil {
			return err
		}
		defer s.Close()
		return f(s)
	}))
}

// changeLegacy changes a table of both families.
func changeLegacy(t *testing.T, h *lab.Host, name string, change func(xtables.Family, *xtables.Table)) {
	t.Helper()
	for _, family := range legacyFamilies {
		onLegacy(t, h, family, func(s *xtables.Socket) error {
			table, err := s.Read(name)
			if err != nil {
				return err
			}
			change(family, table)
			return s.Replace(table)
		})
	}
}

func legacyDrop(t *testing.T, h *lab.Host)   { t.Helper(); legacyPolicy(t, h, -1) } // -NF_DROP-1
func legacyAccept(t *testing.T, h *lab.Host) { t.Helper(); legacyPolicy(t, h, -2) }

// legacyPolicy sets FORWARD's, by changing the number in the entry that the
// underflow of the hook leads to.
func legacyPolicy(t *testing.T, h *lab.Host, verdict int32) {
	t.Helper()
	const forward = 2 // NF_INET_FORWARD
	for _, family := range legacyFamilies {
		head, _ := entryHead(family)
		onLegacy(t, h, family, func(s *xtables.Socket) error {
			info, blob, err := s.ReadRaw("filter")
			if err != nil {
				return err
			}
			binary.NativeEndian.PutUint32(blob[info.Underflow[forward]+head+32:], uint32(verdict))
			table, err := xtables.Parse(family, "filter", info, blob)
			if err != nil {
				return err
			}
			return s.Replace(table)
		})
	}
}

// legacyDockerMasquerade is -s SUBNET ! -d SUBNET -j MASQUERADE: what dockerd's
// does without naming a device.
func legacyDockerMasquerade(t *testing.T, h *lab.Host, i int) {
	t.Helper()
	changeLegacy(t, h, "nat", func(f xtables.Family, table *xtables.Table) {
		subnet, info := subnet4[i], binary.NativeEndian.AppendUint32(nil, 1)
		info = append(info, make([]byte, 16)...)
		if f == xtables.IPv6 {
			subnet, info = subnet6[i], make([]byte, 40)
		}
		chain := table.Chain("POSTROUTING")
		chain.Rules = append([]*xtables.Rule{f.NewRule(xtables.New{
			Source: subnet, Destination: subnet, NotDestination: true,
			Target: xtables.Extension{Name: "MASQUERADE", Data: info},
		})}, chain.Rules...)
	})
}

// legacyListing are the bytes of all tables that a host has. What the entries
// have counted is left out, unless counts is set, and so is comefrom.
func legacyListing(t *testing.T, h *lab.Host, family xtables.Family, counts bool) string {
	t.Helper()
	head, comefrom := entryHead(family)
	var b strings.Builder
	onLegacy(t, h, family, func(s *xtables.Socket) error {
		names, err := xtables.Loaded(family)
		if err != nil {
			return err
		}
		for _, name := range names {
			info, blob, err := s.ReadRaw(name)
			if err != nil {
				return err
			}
			for at := uint32(0); !counts && at < info.Size; at += uint32(binary.NativeEndian.Uint16(blob[at+comefrom-2:])) {
				clear(blob[at+head-16 : at+head])
			}
			fmt.Fprintf(&b, "%s %+v\n%x\n", name, info, blob)
		}
		return nil
	})
	return b.String()
}

// entryHead is the size of struct ipt_entry, or ip6t_entry, and where comefrom
// is in it.
func entryHead(family xtables.Family) (size, comefrom uint32) {
	switch {
	case family == xtables.IPv4:
		return 112, 92
	case runtime.GOARCH == "386":
		return 164, 144
	}
	return 168, 144
}

func prefixOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
