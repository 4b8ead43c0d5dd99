package routetable

import "net/netip"

// Filter picks what Flush removes. The zero Filter picks everything, the
// default included. What is given must all be met.
type Filter struct {
	// Of a remote. An entry of several loses those that match, and goes with
	// the last of them.
	VNI  *uint32
	Port *uint16
	Dst  netip.Addr

	// Of an entry: its bits under the mask must be as given. Word sets them.
	State, StateMask StateBits
	Flags, FlagsMask Flags
}

// StateBits are an entry's state as the kernel keeps it, and the words of
// bridge fdb flush with it.
type StateBits uint8

// The bits: an entry that a user made static has the second, one that a user
// made permanent has both, and the default of a link has the first alone.
const (
	BitPermanent StateBits = 1 << iota // NUD_PERMANENT
	BitNoARP                           // NUD_NOARP
)

func (m meta) stateBits() StateBits {
	switch {
	case m.state() == Static:
		return BitNoARP
	case m.state() == Permanent && m.flags()&byUser != 0:
		return BitPermanent | BitNoARP
	case m.state() == Permanent:
		return BitPermanent
	}
	return 0
}

// Word adds one of the words permanent, static, dynamic, extern_learn and
// router, with or without "no" before it, to what was said before, and reports
// whether it is one. The words do to the bits what bridge fdb flush (iproute2
// 6.1) does, surprises included: nodynamic spares the default of a link, and
// nostatic spares what a user made permanent.
func (f *Filter) Word(word string) bool {
	switch word {
	case "permanent":
		f.wantState(BitPermanent, 0, BitPermanent)
	case "nopermanent":
		f.wantState(0, BitPermanent, BitPermanent)
	case "static":
		f.wantState(BitNoARP, 0, BitPermanent|BitNoARP)
	case "nostatic":
		f.wantState(0, BitNoARP, BitNoARP)
	case "dynamic":
		f.wantState(0, BitNoARP, BitPermanent|BitNoARP)
	case "nodynamic":
		f.wantState(BitNoARP, 0, BitNoARP)
	case "extern_learn":
		f.wantFlags(ExternLearn, 0)
	case "noextern_learn":
		f.wantFlags(0, ExternLearn)
	case "router":
		f.wantFlags(Router, 0)
	case "norouter":
		f.wantFlags(0, Router)
	default:
		return false
	}
	return true
}

func (f *Filter) wantState(set, unset, mask StateBits) {
	f.State = f.State&^unset | set
	f.StateMask |= mask
}

func (f *Filter) wantFlags(set, unset Flags) {
	f.Flags = f.Flags&^unset | set
	f.FlagsMask |= set | unset
}

func (f *Filter) matches(m meta) bool {
	return m.stateBits()&f.StateMask == f.State&f.StateMask && m.flags()&f.FlagsMask == f.Flags&f.FlagsMask
}

// matchesRemote tells VNI 0 and port 0 from none, which the kernel (6.18) does
// not: it would flush everything.
func (f *Filter) matchesRemote(r *Remote) bool {
	return (f.VNI == nil || r.VNI == *f.VNI) &&
		(f.Port == nil || r.Port == *f.Port) &&
		(!f.Dst.IsValid() || r.Addr == f.Dst)
}

// Flush removes what matches, and returns how many remotes that were: as many
// as there were lines to show.
func (t *FDB) Flush(f Filter) int {
	return t.flush(func(_ uint64, m meta) bool { return f.matches(m) }, f.matchesRemote)
}

// Down removes what a link loses when it is set down: everything dynamic, also
// a controller's, but for the entry of the all-zero MAC. It returns how many
// remotes that were.
func (t *FDB) Down() int {
	return t.flush(func(key uint64, m meta) bool { return m.state() == Dynamic && key != keyOf(MAC{}) },
		func(*Remote) bool { return true })
}

func (t *FDB) flush(entry func(key uint64, m meta) bool, remote func(*Remote) bool) (removed int) {
	for i := range t.shards {
		s := &t.shards[i]
		if s.table.Load() == nil {
			continue
		}
		s.mu.Lock()
		for at := range s.entries {
			if entry(at.key.Load(), meta(at.meta.Load())) {
				removed += t.drop(s, at, false, remote)
			}
		}
		s.shrink(&t.seed)
		s.mu.Unlock()
	}
	return removed
}
