//go:build linux

// Package legacytest changes the tables of iptables-legacy as dockerd and people
// do, for tests on machines that have no such program. Its functions are for the
// network namespace of the calling thread.
package legacytest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/weftnet/weft/internal/flannel/netfilter/xtables"
)

// Families are those that there are tables of.
var Families = []xtables.Family{xtables.IPv4, xtables.IPv6}

// patience is how long iptables' lock is waited for.
const patience = 10 * time.Second

// Change changes a table under iptables' lock. The table is made if it is not
// there yet.
func Change(f xtables.Family, table string, change func(*xtables.Table)) error {
	return locked(f, func(s *xtables.Socket) error {
		t, err := s.Read(table)
		if err != nil {
			return err
		}
		change(t)
		return s.Replace(t)
	})
}

func locked(f xtables.Family, do func(*xtables.Socket) error) error {
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	unlock, err := xtables.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return with(f, do)
}

func with(f xtables.Family, do func(*xtables.Socket) error) error {
	s, err := xtables.Open(f)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

// Drop has FORWARD drop what no rule of it speaks of.
func Drop(f xtables.Family) error { return setPolicy(f, -1) } // -NF_DROP-1

// Accept has it accept that.
func Accept(f xtables.Family) error { return setPolicy(f, -2) }

// setPolicy changes the number in the entry that the underflow of the hook leads
// to.
func setPolicy(f xtables.Family, verdict int32) error {
	const forward = 2 // NF_INET_FORWARD
	head, _ := entryHead(f)
	return locked(f, func(s *xtables.Socket) error {
		info, blob, err := s.ReadRaw("filter")
		if err != nil {
			return err
		}
		binary.NativeEndian.PutUint32(blob[info.Underflow[forward]+head+32:], uint32(verdict))
		table, err := xtables.Parse(f, "filter", info, blob)
		if err != nil {
			return err
		}
		return s.Replace(table)
	})
}

// Masquerade puts -s SUBNET ! -d SUBNET -j MASQUERADE before all rules of
// POSTROUTING: what dockerd's rule does without naming a device.
func Masquerade(subnet netip.Prefix) error {
	info := append(binary.NativeEndian.AppendUint32(nil, 1), make([]byte, 16)...)
	if subnet.Addr().Is6() {
		info = make([]byte, 40)
	}
	f := xtables.Family(subnet.Addr().Is6())
	rule := f.NewRule(xtables.New{
		Source: subnet, Destination: subnet, NotDestination: true,
		Target: xtables.Extension{Name: "MASQUERADE", Data: info},
	})
	return Change(f, "nat", func(t *xtables.Table) {
		c := t.Chain("POSTROUTING")
		c.Rules = append([]*xtables.Rule{rule}, c.Rules...)
	})
}

// Listing is the bytes of all tables that there are. What the entries have
// counted is left out, unless counts is set, and so is comefrom.
func Listing(f xtables.Family, counts bool) (string, error) {
	var b strings.Builder
	err := with(f, func(s *xtables.Socket) error {
		names, err := xtables.Loaded(f)
		if err != nil {
			return err
		}
		for _, name := range names {
			info, blob, err := s.ReadRaw(name)
			if err != nil {
				return err
			}
			if !counts {
				clearCounts(f, blob[:info.Size])
			}
			fmt.Fprintf(&b, "%s %+v\n%x\n", name, info, blob)
		}
		return nil
	})
	return b.String(), err
}

func clearCounts(f xtables.Family, blob []byte) {
	head, comefrom := entryHead(f)
	for at := uint32(0); at < uint32(len(blob)); at += uint32(binary.NativeEndian.Uint16(blob[at+comefrom-2:])) {
		clear(blob[at+head-16 : at+head])
	}
}

// entryHead is the size of struct ipt_entry, or ip6t_entry, and where comefrom
// is in it.
func entryHead(f xtables.Family) (size, comefrom uint32) {
	switch {
	case f == xtables.IPv4:
		return 112, 92
	case runtime.GOARCH == "386":
		return 164, 144
	}
	return 168, 144
}
