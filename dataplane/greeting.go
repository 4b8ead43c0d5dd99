package dataplane

import (
	"net/netip"
	"time"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// greetings is what a link of bare packets and its peers know of one another. What
// the kernel sends past the process may arrive unfinished (see encap.AppendGreeting):
// flannel's proxy would pass it on so, and a weft finishes it. So only a peer that
// says that it is a weft is sent to like that.
//
// Who is sent to a lot says so, once in a Lease, behind a small packet that goes back
// anyway: nobody else sees anything of it. A peer that understands answers with a
// greeting alone. All of it is the worker's.
type greetings struct {
	owed  map[netip.Addr]bool          // peers that the next small packet is to greet
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

// owe notes that a peer is to be greeted. Those to whom nothing small is sent are
// forgotten when there are too many.
func (g *greetings) owe(to netip.Addr) {
	if g.owed == nil || len(g.owed) >= maxGreeted {
		g.owed = map[netip.Addr]bool{}
	}
	g.owed[to] = true
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

// hears notes that something came from a peer, which is greeted if there is much.
func (g *greetings) hears(from netip.Addr, now time.Duration) {
	if g.heard.more(stationHash(routetable.MAC{}, from), 1, now, 0) {
		g.owe(from)
	}
}

// greet returns the datagram of a packet with a greeting behind it, if the peer is to
// be greeted and the packet is small enough.
func (g *greetings) greet(datagram []byte, to netip.Addr) []byte {
	if len(g.owed) == 0 || len(datagram) > maxGreeting || !g.owed[to] {
		return datagram
	}
	delete(g.owed, to)
	return encap.AppendGreeting(datagram[:len(datagram):len(datagram)])
}

// greeted takes a greeting; one that came behind a packet is answered.
func (l *Link) greeted(d *underlay.Datagram, answer bool) {
	g := &l.routed.greetings
	if l.short != nil && g.took(d.From, l.port.now) {
		l.short.changed() // busy flows to the peer were left to the process
	}
	if !answer || !l.takesUnfinished() {
		return
	}
	delete(g.owed, d.From)
	flow := l.set.Load().flow
	flow.Account = unaccounted{}
	flow.Remote = netip.AddrPortFrom(d.From, l.port.number)
	flow.IfIndex = d.IfIndex
	l.port.sender.Datagram(&flow, encap.AppendGreeting(nil), 0)
	l.port.sender.Flush()
}

// takesUnfinished reports whether the link's device finishes what a peer did not.
func (l *Link) takesUnfinished() bool { return l.joined.TCP }

// unaccounted is the underlay.Account of what is no link's packet.
type unaccounted struct{}

func (unaccounted) Sent(int, int)      {}
func (unaccounted) Dropped(int, error) {}
