//go:build linux

package xtables

import "fmt"

// maxSize is more than the kernel takes (XT_MAX_TABLE_SIZE).
const maxSize = 512 << 20

// Encode puts a table together: the offsets are new, the rest is as it was.
// What the rules have counted stays in them, though the kernel does not look.
func (t *Table) Encode() (Info, []byte, error) {
	info := Info{ValidHooks: t.validHooks}
	starts := map[*Chain]int{} // of their first rule
	size := 0
	for _, c := range t.Chains {
		start := size
		if c.head != nil {
			start += len(c.head.entry)
		}
		starts[c] = start
		for _, r := range c.entries() {
			size += len(r.entry)
		}
		if c.BuiltIn() {
			info.HookEntry[c.hook], info.Underflow[c.hook] = uint32(start), uint32(size-len(c.end.entry))
		}
	}
	if size > maxSize {
		return info, nil, fmt.Errorf("table %s would have %d bytes, and the kernel takes %d", t.Name, size, maxSize)
	}
	var blob []byte
	for _, r := range t.all() {
		switch {
		case r.to != nil:
			start, ok := starts[r.to]
			if !ok {
				return info, nil, fmt.Errorf("table %s: a rule leads to %s, which was taken away", t.Name, r.to.Name)
			}
			r.setVerdict(start)
		case r.through:
			r.setVerdict(len(blob) + len(r.entry))
		}
		blob = append(blob, r.entry...)
		info.Entries++
	}
	info.Size = uint32(len(blob))
	return info, blob, nil
}

// entries are a chain's in the order in which they lie.
func (c *Chain) entries() []*Rule {
	var all []*Rule
	if c.head != nil {
		all = append(all, c.head)
	}
	return append(append(all, c.Rules...), c.end)
}

func (t *Table) all() []*Rule {
	var all []*Rule
	for _, c := range t.Chains {
		all = append(all, c.entries()...)
	}
	return append(all, t.end)
}
