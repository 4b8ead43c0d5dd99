//go:build linux

package xtables

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// fresh is a table as the kernel makes it: chains that accept, no rules. It is
// put together byte by byte, without what is tested.
func fresh(f Family, hookNumbers ...int) (Info, []byte) {
	head, accept, errorTarget := 112, make([]byte, 40), make([]byte, 64)
	if f == IPv6 {
		head = 168
	}
	if runtime.GOARCH == "386" {
		accept = accept[:36]
		if f == IPv6 {
			head = 164
		}
	}
	native.PutUint16(accept, uint16(len(accept)))
	native.PutUint32(accept[32:], ^uint32(1)) // -NF_ACCEPT-1
	native.PutUint16(errorTarget, 64)
	copy(errorTarget[2:], "ERROR")
	copy(errorTarget[32:], "ERROR")
	entry := func(target []byte) []byte {
		b := make([]byte, head, head+len(target))
		native.PutUint16(b[f.targetOffsetAt():], uint16(head))
		native.PutUint16(b[f.nextOffsetAt():], uint16(head+len(target)))
		return append(b, target...)
	}
	var info Info
	var blob []byte
	for _, h := range hookNumbers {
		info.ValidHooks |= 1 << h
		info.HookEntry[h], info.Underflow[h] = uint32(len(blob)), uint32(len(blob))
		blob = append(blob, entry(accept)...)
	}
	blob = append(blob, entry(errorTarget)...)
	info.Entries, info.Size = uint32(len(hookNumbers)+1), uint32(len(blob))
	return info, blob
}

func filter(t testing.TB, f Family) *Table {
	t.Helper()
	info, blob := fresh(f, 1, 2, 3)
	table, err := Parse(f, "filter", info, blob)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// text of a table, as iptables would print it.
func (t *Table) text() string {
	var b strings.Builder
	for _, c := range t.Chains {
		fmt.Fprintf(&b, "%s %v", c.Name, c.BuiltIn())
		if c.BuiltIn() {
			fmt.Fprint(&b, c.Accepts())
		}
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\n  %v %v %v %v", r.entry[:r.family.ipLen()], r.Matches(), r.Target(), r.through)
			switch v, ok := r.verdict(); {
			case r.to != nil:
				fmt.Fprint(&b, " to ", r.to.Name)
			case ok && !r.through:
				fmt.Fprint(&b, " verdict ", v)
			}
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// randomRule leads to one of the chains, to an extension, or returns.
func randomRule(r *rand.Rand, t *Table) *Rule {
	n := New{Accept: r.IntN(3) == 0, NotSource: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		addr := make([]byte, t.Family.addrLen())
		for i := range addr {
			addr[i] = byte(r.Uint32())
		}
		a, _ := netip.AddrFromSlice(addr)
		n.Source = netip.PrefixFrom(a, 1+r.IntN(8*len(addr)))
	}
	for range r.IntN(3) {
		n.Matches = append(n.Matches, Extension{"comment", byte(r.IntN(2)), make([]byte, r.IntN(300))})
	}
	if r.IntN(3) == 0 {
		n.Target = Extension{"MASQUERADE", 0, make([]byte, 20)}
	}
	if c := t.Chains[r.IntN(len(t.Chains))]; !c.BuiltIn() && n.Target.Name == "" {
		n.Jump, n.Accept = c, false
	}
	rule := t.Family.NewRule(n)
	if n.Jump == nil && n.Target.Name == "" && r.IntN(4) == 0 {
		rule.through = true // as of `iptables -A FORWARD -s 10.0.0.1`
	}
	return rule
}

// TestRandomTables: whatever is done to a table, it comes back from its bytes
// as it was, and these come back from it.
func TestRandomTables(t *testing.T) {
	for _, f := range []Family{IPv4, IPv6} {
		r := rand.New(rand.NewPCG(1, 2))
		table := filter(t, f)
		for step := range 400 {
			switch r.IntN(6) {
			case 0:
				table.AddChain(fmt.Sprintf("C%d", step))
			case 1:
				c := table.Chains[r.IntN(len(table.Chains))]
				if len(c.Rules) > 0 {
					at := r.IntN(len(c.Rules))
					c.Rules = slices.Delete(c.Rules, at, at+1)
				}
			case 2:
				if c := table.Chains[r.IntN(len(table.Chains))]; !c.BuiltIn() && !inUse(table, c) {
					table.RemoveChain(c)
				}
			default:
				c := table.Chains[r.IntN(len(table.Chains))]
				c.Rules = slices.Insert(c.Rules, r.IntN(len(c.Rules)+1), randomRule(r, table))
			}
			info, blob, err := table.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(f, "filter", info, blob)
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			if got, want := again.text(), table.text(); got != want {
				t.Fatalf("step %d: the table is\n%s\nnot\n%s", step, got, want)
			}
			sameBytes(t, again, info, blob)
		}
	}
}

func sameBytes(t *testing.T, table *Table, info Info, blob []byte) {
	t.Helper()
	info2, blob2, err := table.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if info2 != info || !bytes.Equal(blob2, blob) {
		t.Fatalf("put together again the table is\n%+v\n%x\nnot\n%+v\n%x", info2, blob2, info, blob)
	}
}

// TestRefusedTables: what does not hang together is refused.
func TestRefusedTables(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Info, []byte) []byte
		want   string
	}{
		"cut off":           {func(_ *Info, b []byte) []byte { return b[:len(b)-1] }, "are announced"},
		"entries":           {func(i *Info, b []byte) []byte { i.Entries++; return b }, "are announced"},
		"policy":            {func(_ *Info, b []byte) []byte { native.PutUint32(b[112+32:], 0); return b }, "no policy"},
		"hook":              {func(i *Info, b []byte) []byte { i.HookEntry[2] += 8; return b }, "FORWARD"},
		"hooks overlap":     {func(i *Info, b []byte) []byte { i.HookEntry[2], i.Underflow[2] = 0, 0; return b }, "FORWARD"},
		"target in head":    {func(_ *Info, b []byte) []byte { native.PutUint16(b[88:], 96); return b }, "do not fit"},
		"next beyond":       {func(_ *Info, b []byte) []byte { native.PutUint16(b[90:], 60000); return b }, "do not fit"},
		"next is zero":      {func(_ *Info, b []byte) []byte { native.PutUint16(b[90:], 0); return b }, "do not fit"},
		"target too long":   {func(_ *Info, b []byte) []byte { native.PutUint16(b[112:], 48); return b }, "bytes long"},
		"no end":            {func(_ *Info, b []byte) []byte { b[len(b)-62] = 'X'; return b }, "not ERROR"},
		"half a head":       {func(i *Info, b []byte) []byte { i.Size += 8; return append(b, make([]byte, 8)...) }, "no entry's head"},
		"target is a match": {func(_ *Info, b []byte) []byte { native.PutUint16(b[88:], 112+4); return b }, "reaches into"},
	} {
		info, blob := fresh(IPv4, 1, 2, 3)
		blob = c.change(&info, blob)
		_, err := Parse(IPv4, "filter", info, blob)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}
}

// TestJumpNowhere: a verdict that leads into the middle of something.
func TestJumpNowhere(t *testing.T) {
	table := filter(t, IPv4)
	chain := table.AddChain("C")
	rule := IPv4.NewRule(New{Jump: chain})
	table.Chain("INPUT").Rules = []*Rule{rule}
	info, blob, err := table.Encode()
	if err != nil {
		t.Fatal(err)
	}
	native.PutUint32(blob[rule.target()+extensionLen:], info.Size-8)
	if _, err := Parse(IPv4, "filter", info, blob); err == nil || !strings.Contains(err.Error(), "where no chain begins") {
		t.Error(err)
	}
	table.RemoveChain(chain)
	if _, _, err := table.Encode(); err == nil || !strings.Contains(err.Error(), "taken away") {
		t.Error(err)
	}
}

// TestCounters: what entries had counted goes with them.
func TestCounters(t *testing.T) {
	table := filter(t, IPv4)
	counted := make([]byte, countersLen*table.entries)
	for i := range table.entries {
		native.PutUint64(counted[i*countersLen:], uint64(100+i))
	}
	table.Chain("FORWARD").Rules = []*Rule{IPv4.NewRule(New{Accept: true})}
	table.AddChain("C")
	b := table.counters(counted)[align(36):]
	var got []uint64
	for at := 0; at < len(b); at += countersLen {
		got = append(got, native.Uint64(b[at:]))
	}
	if want := []uint64{100, 0, 101, 102, 0, 0, 103}; !slices.Equal(got, want) { // INPUT, rule, FORWARD, OUTPUT, C, its RETURN, ERROR
		t.Errorf("%v, not %v", got, want)
	}
}

// FuzzParse: no bytes make it read beyond them, and what it takes apart it puts
// together again to the same bytes.
func FuzzParse(f *testing.F) {
	for _, family := range []Family{IPv4, IPv6} {
		r := rand.New(rand.NewPCG(3, 4))
		table := filter(f, family)
		for i := range 5 {
			table.AddChain(fmt.Sprintf("C%d", i))
		}
		for range 20 {
			c := table.Chains[r.IntN(len(table.Chains))]
			c.Rules = append(c.Rules, randomRule(r, table))
		}
		info, blob, err := table.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bool(family), info.ValidHooks, pack(info.HookEntry), pack(info.Underflow), info.Entries, blob)
	}
	f.Fuzz(func(t *testing.T, family bool, valid uint32, entry, underflow []byte, entries uint32, blob []byte) {
		info := Info{valid, unpack(entry), unpack(underflow), entries, uint32(len(blob))}
		table, err := Parse(Family(family), "filter", info, slices.Clone(blob))
		if err != nil {
			return
		}
		_ = table.text()
		for h := range hooks {
			if valid&(1<<h) == 0 {
				info.HookEntry[h], info.Underflow[h] = 0, 0
			}
		}
		sameBytes(t, table, info, blob)
	})
}

func pack(offsets [hooks]uint32) []byte {
	var b []byte
	for _, o := range offsets {
		b = native.AppendUint32(b, o)
	}
	return b
}

func unpack(b []byte) (offsets [hooks]uint32) {
	b = append(slices.Clone(b), make([]byte, 4*hooks)...)
	for i := range offsets {
		offsets[i] = native.Uint32(b[4*i:])
	}
	return offsets
}

// inUse reports whether rules lead to a chain.
func inUse(t *Table, c *Chain) bool {
	return slices.ContainsFunc(t.Chains, func(from *Chain) bool {
		return slices.ContainsFunc(from.Rules, func(r *Rule) bool { return r.to == c })
	})
}
