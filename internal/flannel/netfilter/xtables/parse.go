//go:build linux

package xtables

import "fmt"

// Info is what the kernel says of a table besides its entries.
type Info struct {
	ValidHooks uint32 // bit for bit which hooks lead to the table
	HookEntry  [hooks]uint32
	Underflow  [hooks]uint32
	Entries    uint32
	Size       uint32
}

// parser takes a table apart.
type parser struct {
	table  *Table
	info   Info
	rules  []*Rule
	starts map[uint32]int // offset → index into rules
	next   int
}

// Parse takes apart what the kernel listed. What it cannot put together again
// in the same way it refuses.
func Parse(f Family, name string, info Info, blob []byte) (*Table, error) {
	p := &parser{
		table:  &Table{Family: f, Name: name, validHooks: info.ValidHooks, entries: int(info.Entries)},
		info:   info,
		starts: map[uint32]int{},
	}
	for _, step := range []func() error{func() error { return p.cut(blob) }, p.chains, p.jumps} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
	}
	return p.table, nil
}

// cut finds where each entry begins and ends.
func (p *parser) cut(blob []byte) error {
	if uint32(len(blob)) != p.info.Size {
		return fmt.Errorf("%d bytes of entries where %d are announced", len(blob), p.info.Size)
	}
	f := p.table.Family
	for at := 0; at < len(blob); {
		length, err := f.entryLen(blob[at:])
		if err != nil {
			return fmt.Errorf("entry %d at offset %d: %w", len(p.rules), at, err)
		}
		p.starts[uint32(at)] = len(p.rules)
		p.rules = append(p.rules, &Rule{family: f, entry: append([]byte(nil), blob[at:at+length]...), old: len(p.rules)})
		at += length
	}
	if len(p.rules) != int(p.info.Entries) {
		return fmt.Errorf("%d entries where %d are announced", len(p.rules), p.info.Entries)
	}
	return nil
}

// entryLen checks that an entry and all of its parts lie within b.
func (f Family) entryLen(b []byte) (int, error) {
	head := f.headLen()
	if len(b) < head {
		return 0, fmt.Errorf("%d bytes are no entry's head of %d", len(b), head)
	}
	target, next := int(native.Uint16(b[f.targetOffsetAt():])), int(native.Uint16(b[f.nextOffsetAt():]))
	if next != align(next) || next > len(b) || target < head || target+extensionLen > next {
		return 0, fmt.Errorf("target at %d and length %d do not fit %d bytes", target, next, len(b))
	}
	for at := head; at < target; {
		if at+extensionLen > target {
			return 0, fmt.Errorf("the match at %d reaches into the target", at)
		}
		size := int(native.Uint16(b[at:]))
		if size < extensionLen || at+size > target {
			return 0, fmt.Errorf("the match at %d is %d bytes long", at, size)
		}
		at += size
	}
	if size := int(native.Uint16(b[target:])); size < extensionLen || target+size != next {
		return 0, fmt.Errorf("the target at %d is %d bytes long", target, size)
	}
	return next, nil
}

// chains tells which entries belong together.
func (p *parser) chains() error {
	for hook := range hooks {
		if p.info.ValidHooks&(1<<hook) == 0 {
			continue
		}
		if err := p.builtIn(hook); err != nil {
			return fmt.Errorf("%s: %w", hookNames[hook], err)
		}
	}
	for p.next < len(p.rules)-1 {
		if err := p.userChain(); err != nil {
			return err
		}
	}
	if p.next != len(p.rules)-1 || p.rules[p.next].Target() != "ERROR" {
		return fmt.Errorf("the last entry is not ERROR")
	}
	p.table.end = p.rules[p.next]
	return nil
}

// builtIn takes the entries from a hook's entry to its policy.
func (p *parser) builtIn(hook int) error {
	first, ok := p.starts[p.info.HookEntry[hook]]
	last, ok2 := p.starts[p.info.Underflow[hook]]
	if !ok || !ok2 || first != p.next || last < first {
		return fmt.Errorf("entries from offset %d to %d are not the chain that is due at entry %d", p.info.HookEntry[hook], p.info.Underflow[hook], p.next)
	}
	c := &Chain{Name: hookNames[hook], hook: hook, Rules: p.rules[first:last:last], end: p.rules[last]}
	if v, ok := c.end.verdict(); !ok || v != verdictAccept && v != verdictDrop || !c.end.plain() {
		return fmt.Errorf("it has no policy")
	}
	p.next = last + 1
	return p.add(c)
}

// plain reports whether an entry meets every packet.
func (r *Rule) plain() bool { return r.Always() && r.target() == r.family.headLen() }

// userChain takes the entries from a chain's head to its RETURN, which is the
// last before the next head.
func (p *parser) userChain() error {
	head := p.rules[p.next]
	if head.Target() != "ERROR" || len(head.entry) < head.target()+extensionLen+errorNameLen {
		return fmt.Errorf("entry %d is neither the head of a chain nor in one", p.next)
	}
	first := p.next + 1
	last := first
	for last < len(p.rules) && p.rules[last].Target() != "ERROR" {
		last++
	}
	last--
	name := text(head.entry[head.target()+extensionLen:])
	if last < first || !p.rules[last].Returns() || !p.rules[last].plain() {
		return fmt.Errorf("chain %s does not end in a RETURN", name)
	}
	p.next = last + 1
	return p.add(&Chain{Name: name, hook: -1, head: head, Rules: p.rules[first:last:last], end: p.rules[last]})
}

func (p *parser) add(c *Chain) error {
	if p.table.Chain(c.Name) != nil {
		return fmt.Errorf("there are two chains %s", c.Name)
	}
	p.table.Chains = append(p.table.Chains, c)
	return nil
}

// jumps finds which chains the verdicts lead to.
func (p *parser) jumps() error {
	first := map[int]*Chain{} // by the index of their first entry
	for _, c := range p.table.Chains {
		if !c.BuiltIn() {
			first[c.head.old+1] = c
		}
	}
	for _, c := range p.table.Chains {
		for _, r := range c.Rules {
			v, ok := r.verdict()
			if !ok || v < 0 {
				continue
			}
			to, ok := p.starts[uint32(v)]
			switch {
			case ok && to == r.old+1:
				r.through = true
			case ok && first[to] != nil:
				r.to = first[to]
			default:
				return fmt.Errorf("a rule of %s leads to offset %d, where no chain begins", c.Name, v)
			}
		}
	}
	return nil
}
