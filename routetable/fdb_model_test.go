package routetable

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// model is the kernel's forwarding database written down naively: a list, the
// newest entry first, with the kernel's own bits. What it does was read in
// drivers/net/vxlan/vxlan_core.c (6.18) and seen on a device; nothing of the
// package's code is used.
type model struct {
	entries []*modelEntry
	limit   int
	ageing  Tick // a tick is an eighth of a second
	learned Remote
	events  []Event
}

type modelEntry struct {
	mac           MAC
	remotes       []Remote
	nud           uint8
	ntf           uint16
	used, updated Tick
}

const (
	nudReachable = 0x02
	nudNoARP     = 0x40
	nudPermanent = 0x80

	ntfExtLearned  = 0x10
	ntfRouter      = 0x80
	ntfAddedByUser = 0x100
)

// What bridge fdb (iproute2 6.1) sends for the states' words.
var (
	nudOf = map[State]uint8{Dynamic: nudReachable, Static: nudReachable | nudNoARP, Permanent: nudPermanent | nudNoARP}
	ntfOf = map[Flags]uint16{0: 0, ExternLearn: ntfExtLearned, Router: ntfRouter, ExternLearn | Router: ntfExtLearned | ntfRouter}
)

func multicastOrZero(m MAC) bool { return m == MAC{} || m[0]%2 == 1 }

func (m *model) find(mac MAC) *modelEntry {
	for _, e := range m.entries {
		if e.mac == mac {
			return e
		}
	}
	return nil
}

func (e *modelEntry) state() State {
	switch {
	case e.nud&nudPermanent != 0:
		return Permanent
	case e.nud&nudNoARP != 0:
		return Static
	}
	return Dynamic
}

func (e *modelEntry) flags() (f Flags) {
	if e.ntf&ntfExtLearned != 0 {
		f |= ExternLearn
	}
	if e.ntf&ntfRouter != 0 {
		f |= Router
	}
	return f
}

func (m *model) notify(e *modelEntry, r Remote, deleted, stale bool) {
	m.events = append(m.events, Event{Deleted: deleted, Stale: stale, MAC: e.mac, Remote: r, State: e.state(), Flags: e.flags()})
}

// netlink flags of bridge fdb add, append and replace.
type nlm struct{ excl, append, replace bool }

func (m *model) update(mac MAC, r Remote, nud uint8, ntf uint16, how nlm, now Tick) error {
	e := m.find(mac)
	if e == nil {
		if how.replace && multicastOrZero(mac) {
			return ErrReplaceUnsupported
		}
		if m.limit != 0 && len(m.entries) >= m.limit {
			return ErrFull
		}
		e = &modelEntry{mac: mac, remotes: []Remote{r}, nud: nud, ntf: ntf, used: now, updated: now}
		m.entries = slices.Insert(m.entries, 0, e)
		m.notify(e, r, false, false)
		return nil
	}
	if how.excl {
		return ErrExists
	}
	notify := false
	if ntf&ntfExtLearned == 0 || e.ntf&ntfAddedByUser == 0 {
		notify = e.nud != nud || e.ntf != ntf
		e.nud, e.ntf = nud, ntf
	}
	told := 0
	if how.replace {
		if multicastOrZero(mac) {
			return ErrReplaceNotUnicast
		}
		if !slices.Contains(e.remotes, r) {
			e.remotes = []Remote{r}
			notify = true
		}
	}
	if how.append && multicastOrZero(mac) && !slices.Contains(e.remotes, r) {
		e.remotes = append(slices.Clone(e.remotes), r)
		told = len(e.remotes) - 1
		notify = true
	}
	if notify {
		e.updated = now
		m.notify(e, e.remotes[told], false, false)
	}
	return nil
}

func (m *model) user(mac MAC, r Remote, s State, f Flags, how nlm, now Tick) error {
	return m.update(mac, r, nudOf[s], ntfOf[f]|ntfAddedByUser, how, now)
}

// removeIf takes the remotes that match from an entry, and the entry if none
// is left.
func (m *model) removeIf(e *modelEntry, stale bool, match func(Remote) bool) (n int) {
	var kept []Remote
	for _, r := range e.remotes {
		if !match(r) {
			kept = append(kept, r)
			continue
		}
		m.notify(e, r, true, stale)
		n++
	}
	e.remotes = kept
	if len(kept) == 0 {
		m.entries = slices.DeleteFunc(m.entries, func(other *modelEntry) bool { return other == e })
	}
	return n
}

func everyRemote(Remote) bool { return true }

func (m *model) delete(mac MAC, r *Remote) error {
	e := m.find(mac)
	switch {
	case e == nil:
		return ErrNotFound
	case r == nil || r.Addr == netip.IPv4Unspecified():
		m.removeIf(e, false, everyRemote)
	default:
		m.removeIf(e, false, func(have Remote) bool { return have == *r })
	}
	return nil
}

func (m *model) changeDefault(from, to *Remote, now Tick) error {
	hasFrom := from != nil && from.Addr != netip.IPv4Unspecified()
	hasTo := to != nil && to.Addr != netip.IPv4Unspecified()
	if hasFrom && hasTo && from.Addr == to.Addr {
		return nil
	}
	if hasTo {
		if err := m.update(MAC{}, *to, nudPermanent|nudReachable, 0, nlm{append: true}, now); err != nil {
			return err
		}
	}
	if hasFrom {
		if err := m.delete(MAC{}, from); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

func (m *model) snoop(src MAC, addr netip.Addr, ifIndex int, now Tick) Verdict {
	if multicastOrZero(src) {
		return Invalid
	}
	e := m.find(src)
	if e == nil {
		_ = m.update(src, Remote{addr, m.learned.Port, m.learned.VNI, ifIndex}, nudReachable, 0, nlm{excl: true}, now)
		return Learnt
	}
	e.updated = now
	if e.remotes[0].Addr == addr && e.remotes[0].IfIndex == ifIndex {
		return Learnt
	}
	if e.nud&(nudPermanent|nudNoARP) != 0 {
		return Pinned
	}
	e.remotes = slices.Clone(e.remotes)
	e.remotes[0].Addr = addr
	m.notify(e, e.remotes[0], false, false)
	return Learnt
}

func (m *model) xmit(dst MAC, now Tick) []Remote {
	e := m.find(dst)
	if e == nil {
		e = m.find(MAC{})
	}
	if e == nil {
		return nil
	}
	e.used = now
	return e.remotes
}

// each calls f with every entry that there was at the start.
func (m *model) each(f func(*modelEntry)) {
	for _, e := range slices.Clone(m.entries) {
		f(e)
	}
}

func (m *model) cleanup(now Tick) (next Tick) {
	next = now + m.ageing + 1
	m.each(func(e *modelEntry) {
		if e.nud&(nudPermanent|nudNoARP) != 0 || e.ntf&ntfExtLearned != 0 {
			return
		}
		if now-e.updated > m.ageing {
			m.removeIf(e, true, everyRemote)
		} else if e.updated+m.ageing+1 < next {
			next = e.updated + m.ageing + 1
		}
	})
	return next
}

func (m *model) stop() (n int) {
	m.each(func(e *modelEntry) {
		if e.nud&(nudPermanent|nudNoARP) == 0 && e.mac != (MAC{}) {
			n += m.removeIf(e, false, everyRemote)
		}
	})
	return n
}

// flushWords are the words of bridge fdb flush and what iproute2 makes of them:
// what is set, what is cleared, and what joins the mask.
var flushWords = map[string]struct{ set, clear, mask uint8 }{
	"permanent":   {nudPermanent, 0, nudPermanent},
	"nopermanent": {0, nudPermanent, nudPermanent},
	"static":      {nudNoARP, 0, nudNoARP | nudPermanent},
	"nostatic":    {0, nudNoARP, nudNoARP},
	"dynamic":     {0, nudNoARP, nudNoARP | nudPermanent},
	"nodynamic":   {nudNoARP, 0, nudNoARP},
}

func (m *model) flush(f Filter, words []string) (n int) {
	var state, stateMask uint8
	var flags, flagsMask uint16
	for _, word := range words {
		switch word {
		case "extern_learn":
			flags, flagsMask = flags|ntfExtLearned, flagsMask|ntfExtLearned
		case "noextern_learn":
			flags, flagsMask = flags&^ntfExtLearned, flagsMask|ntfExtLearned
		case "router":
			flags, flagsMask = flags|ntfRouter, flagsMask|ntfRouter
		case "norouter":
			flags, flagsMask = flags&^ntfRouter, flagsMask|ntfRouter
		default:
			w := flushWords[word]
			state, stateMask = state&^w.clear|w.set, stateMask|w.mask
		}
	}
	m.each(func(e *modelEntry) {
		if e.nud&stateMask == state && e.ntf&flagsMask == flags {
			n += m.removeIf(e, false, func(r Remote) bool {
				return (f.VNI == nil || *f.VNI == r.VNI) && (f.Port == nil || *f.Port == r.Port) && (f.Dst == netip.Addr{} || f.Dst == r.Addr)
			})
		}
	})
	return n
}

func (m *model) setAgeing(d time.Duration) {
	if m.ageing = Tick(d * 8 / time.Second); d == 0 {
		m.ageing = 2400
	}
}
