package dataplane

import (
	"fmt"
	"net/netip"

	"github.com/weftnet/weft/dataplane/internal/underlay"
)

// Change changes the link while it runs, as the kernel's device can be
// changed. After an error it is as it was.
func (l *Link) Change(c *LinkChange) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	before := l.set.Load()
	if err := c.checkKind(&before.cfg); err != nil {
		return fmt.Errorf("link set %s: %w", l.Name(), err)
	}
	r := &resolved{cfg: before.cfg, devIndex: before.devIndex}
	c.applyTo(&r.cfg)
	if err := r.recheck(before, l.ipv6); err != nil {
		return fmt.Errorf("link set %s: %w", l.Name(), err)
	}
	next := newSettings(l, &r.cfg, r.devIndex)
	if err := l.changeUnderlay(before, next); err != nil {
		return fmt.Errorf("link set %s: %w", l.Name(), err)
	}
	l.set.Store(next)
	l.short.changed()
	if c.Ageing != nil {
		l.fdb.SetAgeing(ageing(next.cfg.Ageing))
		select {
		case l.aged <- struct{}{}:
		default: // a sweep is due already
		}
	}
	return nil
}

// checkKind refuses what a link of its kind has not, or cannot change: routes
// keep the way that they were made with, and the socket of a link of bare
// packets its address.
func (c *LinkChange) checkKind(cfg *LinkConfig) error {
	for _, w := range []struct {
		word          string
		given, refuse bool
	}{
		{"remote", c.Remote != nil, cfg.Routed()},
		{"learning", c.Learning != nil && *c.Learning, cfg.Routed()},
		{"ageing", c.Ageing != nil, cfg.Routed()},
		{"local", c.Local != nil, cfg.Bare()},
		{"dev", c.Dev != nil, cfg.Bare()},
		{"ttl", c.TTL != nil, cfg.Bare()},
		{"tos", c.TOS != nil || c.TOSCopy != nil, cfg.Bare()},
		{"df", c.DF != nil, cfg.Bare()},
		{"flowlabel", c.FlowLabel != nil, cfg.Bare()},
	} {
		if w.given && w.refuse {
			return fmt.Errorf("`%s` of a link %s cannot be changed: delete the link and add it again", w.word, cfg.kind())
		}
	}
	return nil
}

// applyTo writes what is given over a configuration.
func (c *LinkChange) applyTo(cfg *LinkConfig) {
	put(&cfg.Remote, c.Remote)
	put(&cfg.Local, c.Local)
	put(&cfg.Dev, c.Dev)
	put(&cfg.TTL, c.TTL)
	put(&cfg.TOS, c.TOS)
	put(&cfg.TOSCopy, c.TOSCopy)
	put(&cfg.DF, c.DF)
	put(&cfg.FlowLabel, c.FlowLabel)
	put(&cfg.Ageing, c.Ageing)
	put(&cfg.AllowSources, c.AllowSources)
	if c.Learning != nil {
		cfg.NoLearning = !*c.Learning
	}
	if c.TTL != nil {
		cfg.TTLCopy = false
	}
}

func put[T any](at *T, given *T) {
	if given != nil {
		*at = *given
	}
}

// recheck refuses what a link cannot become.
func (r *resolved) recheck(before *settings, ipv6 bool) error {
	for _, a := range []netip.Addr{r.cfg.Remote, r.cfg.Local} {
		if a.IsValid() && a.Is4() == ipv6 {
			return fmt.Errorf("New group address family does not match old group: %s is not of the link's underlay, which is %s", a, familyName(ipv6))
		}
	}
	if err := r.checkScopes(); err != nil {
		return err
	}
	if r.cfg.FlowLabel != 0 && !ipv6 {
		return fmt.Errorf("flowlabel %#x: only an IPv6 underlay has flow labels", r.cfg.FlowLabel)
	}
	if r.cfg.Dev == before.cfg.Dev {
		return nil
	}
	if r.cfg.Dev == "" {
		r.devIndex = 0
		return nil
	}
	index, _, err := underlayDevice(r.cfg.Dev)
	if err != nil {
		return fmt.Errorf("dev %s: %w", r.cfg.Dev, err)
	}
	r.devIndex = index
	return nil
}

// changeUnderlay brings the default entry, the group and the path's MTU in line
// with new settings. The default entry changes with the remote's address only:
// another dev alone leaves its `via`, and a later remote is then added beside
// it, as in the kernel (6.18).
func (l *Link) changeUnderlay(before, next *settings) error {
	group, err := l.regroup(before, next)
	if err != nil {
		return err
	}
	if before.cfg.Remote != next.cfg.Remote {
		if err := l.fdb.ChangeDefault(before.defaultRemote(), next.defaultRemote(), clock()); err != nil {
			if group != nil && group != l.group {
				group.Close()
			}
			return explainFDB(err)
		}
	}
	if group != l.group {
		if l.group != nil {
			l.group.Close()
		}
		l.group = group
	}
	if before.cfg.Local != next.cfg.Local {
		l.replacePath(next.cfg.Local)
	}
	return nil
}

// regroup returns the membership for new settings: the one that is there, a
// new one which is joined if the device is up, or none.
func (l *Link) regroup(before, next *settings) (*underlay.Membership, error) {
	group, ok := next.cfg.Group()
	if !ok {
		return nil, nil
	}
	if l.group != nil && group == before.cfg.Remote && next.devIndex == before.devIndex {
		return l.group, nil
	}
	m, err := underlay.OpenMembership(group, next.devIndex)
	if err != nil {
		return nil, err
	}
	if l.attrs.Load().up {
		if err := m.Join(); err != nil {
			m.Close()
			return nil, fmt.Errorf("join group %s: %w", group, err)
		}
	}
	return m, nil
}

// replacePath asks for MTUs from another local address from now on.
func (l *Link) replacePath(local netip.Addr) {
	path, err := underlay.OpenPathMTU(l.ipv6, local)
	if err != nil {
		return // what is known so far is good enough
	}
	old := path
	if !l.port.loop.do(func() { old, l.path = l.path, path }) {
		old = path
	}
	if old != nil {
		old.Close()
	}
}
