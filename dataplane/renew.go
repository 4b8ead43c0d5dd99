package dataplane

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/routetable"
)

// told is a flow that programs carry. As long as it is used, and what it was told
// with is still so, its grant is renewed without a frame of it: one that has to go
// through the process holds up those behind it. But not for ever, since what is
// not looked at that way is the host's firewall. Once that has refused a frame, what
// goes to the same remote is ended, so a flow stays in the list until its grant is
// over.
type told struct {
	grant   shortcut.Grant
	hash    uint32        // in the busyTable
	until   time.Duration // it is not renewed from then on; 0 if it never is
	version uint64        // of the link's changes
	sent    *sentFlow     // nil for a station
	station station
}

// sentFlow is what a flow that leaves depends on, beside the link.
type sentFlow struct {
	dst    routetable.MAC // none of IP packets
	remote netip.Addr
	local  netip.Addr // invalid for the route's
	device int        // to leave by, or 0
	via    underlay.Via
	mtu    int
}

// station is what one that is heard depends on.
type station struct {
	source   routetable.MAC
	from     netip.Addr
	ifIndex  int
	learning bool
}

const (
	// renewEvery is how often grants are looked at: thrice until one is over.
	renewEvery = shortcut.Lease / 4
	// renewFor is how long they are renewed, and half as long again for some, so that
	// those of many flows do not end at once. They then hold for a Lease at most.
	renewFor = 4 * shortcut.Lease
	// maxTold is how many flows of a link are in the list.
	maxTold = 2048
)

// remember has a grant renewed from now on, unless it is for bare packets: those are
// between wefts that greet each other, which takes frames. What those are sent to may
// be refused all the same.
func (l *Link) remember(f told) {
	s, bare := l.short, l.set.Load().cfg.Bare()
	if len(s.told) >= maxTold || bare && f.sent == nil {
		return
	}
	if !bare {
		f.until = l.port.now + renewFor + time.Duration(f.hash%64)*(renewFor/128)
	}
	f.version = s.version
	if s.told = append(s.told, f); len(s.told) == 1 {
		l.port.startRenewing(l)
	}
}

// startRenewing has the worker look at a link's grants until there are none.
func (p *port) startRenewing(l *Link) {
	if p.telling = append(p.telling, l); p.renewing {
		return
	}
	p.renewing = true
	go func() {
		ticker := time.NewTicker(renewEvery)
		defer ticker.Stop()
		for more := true; more; {
			<-ticker.C
			more = false
			p.loop.do(func() { more = p.renew(); p.renewing = more })
		}
	}()
}

// stopRenewing is called on the worker's thread when a link goes.
func (p *port) stopRenewing(l *Link) {
	p.telling = slices.DeleteFunc(p.telling, func(other *Link) bool { return other == l })
}

// renew looks at the grants of all links, and reports whether there are any.
func (p *port) renew() (more bool) {
	p.lookAtClock()
	p.telling = slices.DeleteFunc(p.telling, func(l *Link) bool { return !l.renew() })
	return len(p.telling) > 0
}

func (l *Link) renew() (more bool) {
	s := l.short
	s.begin()
	s.told = slices.DeleteFunc(s.told, func(f told) bool { return f.version != s.version || !f.grant.Holds() })
	for i := range s.told {
		l.renewOne(&s.told[i])
	}
	return len(s.told) > 0
}

// renewOne renews a grant that is used, unless it was for the last time or the flow
// has changed.
func (l *Link) renewOne(f *told) {
	now := l.port.now
	if now >= f.until || !f.grant.Used() {
		return
	}
	table := &l.short.stations
	if f.sent != nil {
		table = &l.short.flows
	}
	if f.sent != nil && !l.leavesSo(f.sent) || f.sent == nil && !l.hearsSo(&f.station) {
		f.until = 0
		return
	}
	f.grant.Renew()
	table.renewed(f.hash, now)
}

// leavesSo reports whether the way of a flow is as it was, and has its FDB entry be
// used: what that says is part of the link's version.
func (l *Link) leavesSo(f *sentFlow) bool {
	p := l.port
	if l.routed == nil {
		l.fdb.Lookup(f.dst, p.tick)
	}
	return *p.routes.Of(f.remote, f.local, f.device, p.now) == f.via && l.path.Of(f.remote, f.device, p.now) == f.mtu
}

// hearsSo has the station's FDB entry be heard of, and reports whether it is as it was.
func (l *Link) hearsSo(s *station) bool {
	return !s.learning || l.fdb.Learn(s.source, s.from, s.ifIndex, l.port.tick) == routetable.Learnt
}

// refuse ends what goes past the process to a remote that a firewall keeps from. It
// has refused a frame, which others would go past. As long as that counts no program
// is told of the remote, so there is nothing to be ended.
func (s *short) refuse(to netip.Addr, now time.Duration) {
	if s == nil {
		return
	}
	if s.refused == nil || len(s.refused) >= maxTold {
		s.refused = map[netip.Addr]time.Duration{}
	}
	counts := now < s.refused[to]
	if s.refused[to] = now + 2*shortcut.Lease; counts {
		return
	}
	for i := range s.told {
		if sent := s.told[i].sent; sent != nil && sent.remote == to {
			s.told[i].grant.End()
		}
	}
}
