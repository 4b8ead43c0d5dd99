//go:build linux

package xtables

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
)

// Rule is an entry of a table.
type Rule struct {
	family  Family
	entry   []byte // head, matches and target, as the kernel has them
	to      *Chain // that its verdict leads to
	through bool   // goes on with the next entry: it has no target
	old     int    // which of the kernel's entries it is, -1 for a new one
}

// New describes a rule that is to be made.
type New struct {
	Source, Destination       netip.Prefix // zero for any
	NotSource, NotDestination bool
	Matches                   []Extension

	// One of these; none of them for a rule that returns.
	Accept bool
	Jump   *Chain
	Target Extension
}

// Extension is a match or a target.
type Extension struct {
	Name     string
	Revision uint8
	Data     []byte // as the kernel's header has it, before it is aligned
}

func (x Extension) bytes() []byte { return extension(x.Name, x.Revision, x.Data) }

// made is an entry that meets every packet, with a target.
func (f Family) made(target []byte) *Rule {
	r := &Rule{family: f, entry: make([]byte, f.headLen()), old: -1}
	r.finish(target)
	return r
}

// finish appends the target and enters the offsets.
func (r *Rule) finish(target []byte) {
	native.PutUint16(r.entry[r.family.targetOffsetAt():], uint16(len(r.entry)))
	r.entry = append(r.entry, target...)
	native.PutUint16(r.entry[r.family.nextOffsetAt():], uint16(len(r.entry)))
}

// NewRule makes a rule.
func (f Family) NewRule(n New) *Rule {
	r := &Rule{family: f, entry: make([]byte, f.headLen()), old: -1, to: n.Jump}
	r.address(0, n.Source, n.NotSource, invertedSource)
	r.address(1, n.Destination, n.NotDestination, invertedDestination)
	for _, m := range n.Matches {
		r.entry = append(r.entry, m.bytes()...)
	}
	verdict := int32(verdictReturn)
	switch {
	case n.Target.Name != "":
		r.finish(n.Target.bytes())
		return r
	case n.Accept:
		verdict = verdictAccept
	case n.Jump != nil:
		verdict = 0 // the offset is known when the table is put together
	}
	r.finish(extension("", 0, verdictBytes(verdict)))
	return r
}

// address enters the source (0) or the destination (1): the addresses come
// first, then their masks.
func (r *Rule) address(which int, p netip.Prefix, not bool, flag byte) {
	if !p.IsValid() {
		return
	}
	n := r.family.addrLen()
	copy(r.entry[which*n:], p.Masked().Addr().AsSlice())
	copy(r.entry[(2+which)*n:], net.CIDRMask(p.Bits(), 8*n))
	if not {
		r.entry[r.family.flagsAt()+1] |= flag
	}
}

// Equal reports whether two rules are the same but for what they have counted
// and for what the kernel notes in them. Their jumps are compared by name.
func (r *Rule) Equal(other *Rule) bool {
	if r.through != other.through || (r.to == nil) != (other.to == nil) || r.to != nil && r.to.Name != other.to.Name {
		return false
	}
	return bytes.Equal(r.essence(), other.essence())
}

func (r *Rule) essence() []byte {
	b := slices.Clone(r.entry)
	f := r.family
	clear(b[f.ipLen():f.targetOffsetAt()]) // nfcache
	clear(b[f.comefromAt():f.headLen()])
	if r.to != nil || r.through {
		clear(b[r.target()+extensionLen:])
	}
	return b
}

func (r *Rule) target() int { return int(native.Uint16(r.entry[r.family.targetOffsetAt():])) }

// Target is the name of the extension that the target is; "" for a verdict.
func (r *Rule) Target() string { return text(r.entry[r.target()+2 : r.target()+2+nameLen]) }

// verdict is the number in a target without a name.
func (r *Rule) verdict() (int32, bool) {
	at := r.target() + extensionLen
	if r.Target() != "" || len(r.entry) < at+4 {
		return 0, false
	}
	return int32(native.Uint32(r.entry[at:])), true
}

func (r *Rule) setVerdict(v int) { native.PutUint32(r.entry[r.target()+extensionLen:], uint32(v)) }

// Jump is the chain that the rule leads to, nil if it does not.
func (r *Rule) Jump() *Chain { return r.to }

// Ends reports whether the rule's verdict is to accept or to drop.
func (r *Rule) Ends() bool {
	v, ok := r.verdict()
	return ok && r.to == nil && !r.through && (v == verdictAccept || v == verdictDrop)
}

// Returns reports whether the rule's verdict is to go back to the calling chain.
func (r *Rule) Returns() bool {
	v, ok := r.verdict()
	return ok && r.to == nil && !r.through && v == verdictReturn
}

// Matches are the rule's.
func (r *Rule) Matches() []Extension {
	var list []Extension
	for at := r.family.headLen(); at < r.target(); {
		size := int(native.Uint16(r.entry[at:]))
		list = append(list, Extension{
			Name:     text(r.entry[at+2 : at+2+nameLen]),
			Revision: r.entry[at+revisionAt],
			Data:     r.entry[at+extensionLen : at+size],
		})
		at += size
	}
	return list
}

// Always reports whether no address, device or protocol is asked for; matches
// may ask for more.
func (r *Rule) Always() bool {
	ip := slices.Clone(r.entry[:r.family.ipLen()])
	ip[r.family.flagsAt()] &^= r.family.gotoFlag()
	return !slices.ContainsFunc(ip, func(b byte) bool { return b != 0 })
}
