package dataplane

import (
	"net/netip"
	"time"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// greetings is what a link of bare packets and its peers know of one another. What
// the kernel sends past the process may arrive unfinished (see encap.AppendGreeting):
// flannel's proxy would pass it on so, and a weft finishes it. So only a peer that
// says that it is a weft is sent to like that.
//
// Who is sent to a lot says so, once in a Lease, behind a small packet that goes back
// anyway: nobody else sees anything of it. A peer that understands answers with the
// next packet to it, however large. So nothing is sent but where packets go. All of it
// is the worker's.
type greetings struct {
	owed  map[netip.Addr]bool          // peers to be greeted, and whether that is an answer
	until map[netip.Addr]time.Duration // peers that greeted, and until when that counts
	heard busyTable
}

const (
	// greetingFor is how long a greeting counts: some Leases, since one may get lost.
	greetingFor = 5 * shortcut.Lease
	// maxGreeted bounds what senders of forged addresses can have remembered.
	maxGreeted = 4096
	// maxGreeting is what fits into any path's MTU with a greeting behind it.
	maxGreeting = 256
)

// owe notes that a peer is to be greeted. Those to whom nothing is sent are forgotten
// when there are too many.
func (g *greetings) owe(to netip.Addr, answer bool) {
	if g.owed == nil || len(g.owed) >= maxGreeted {
		g.owed = map[netip.Addr]bool{}
	}
	g.owed[to] = g.owed[to] || answer
}

// took notes a peer's greeting, and reports whether it says something new.
func (g *greetings) took(from netip.Addr, now time.Duration) (news bool) {
	if g.until == nil {
		g.until = map[netip.Addr]time.Duration{}
	}
	until, known := g.until[from]
	if !known && len(g.until) >= maxGreeted && !g.forget(now) {
		return false
	}
	g.until[from] = now + greetingFor
	return now >= until
}

// forget makes room, if any greeting does not count any more.
func (g *greetings) forget(now time.Duration) (room bool) {
	for from, until := range g.until {
		if now >= until {
			delete(g.until, from)
			room = true
		}
	}
	return room
}

// count reports whether a peer's greeting still counts.
func (g *greetings) count(from netip.Addr, now time.Duration) bool {
	return len(g.until) > 0 && now < g.until[from]
}

// hears notes that something came from a peer, which is greeted if there is much. It is
// busy if a program was told of it just now: of that peer little may come by the process.
func (g *greetings) hears(from netip.Addr, busy bool, now time.Duration) {
	if g.heard.more(stationHash(routetable.MAC{}, from, from), 1, now, 0) || busy {
		g.owe(from, false)
	}
}

// due says how a peer is to be greeted now: behind a packet, if that is small, by a
// datagram of its own, or not.
func (g *greetings) due(to netip.Addr, small bool) (behind, alone bool) {
	if len(g.owed) == 0 {
		return false, false
	}
	answer, owed := g.owed[to]
	behind, alone = owed && small, answer && !small
	if behind || alone {
		delete(g.owed, to)
	}
	return behind, alone
}

// greet returns the datagram of a packet, with a greeting behind it if one is due. One
// that is to go alone goes first.
func (l *Link) greet(o *outgoing) []byte {
	small := o.GSO.Type == encap.GSONone && len(o.datagram) <= maxGreeting
	behind, alone := l.routed.greetings.due(o.flow.Remote.Addr(), small)
	if behind {
		return encap.AppendGreeting(o.datagram[:len(o.datagram):len(o.datagram)])
	}
	if alone {
		flow := o.flow
		flow.Account = unaccounted{}
		l.port.sender.Datagram(&flow, encap.AppendGreeting(nil), 0)
	}
	return o.datagram
}

// greeted takes a greeting; one that came behind a packet is answered.
func (l *Link) greeted(from netip.Addr, answer bool) {
	g := &l.routed.greetings
	if l.short != nil && g.took(from, l.port.now) {
		l.short.changed() // busy flows to the peer were left to the process
	}
	if answer && l.takesUnfinished() {
		g.owe(from, true)
	}
}

// takesUnfinished reports whether the link's device finishes what a peer did not.
func (l *Link) takesUnfinished() bool { return l.joined.TCP }

// unaccounted is the underlay.Account of what is no link's packet.
type unaccounted struct{}

func (unaccounted) Sent(int, int)                  {}
func (unaccounted) Dropped(int, netip.Addr, error) {}
