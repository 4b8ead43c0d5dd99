package dataplane

import (
	"errors"
	"net/netip"

	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// sendBare queues a packet as it is.
//
// Its outer header has DF if it has itself, or is IPv6: then the underlay tells
// this host of a smaller path MTU, and this host the sender, as of any other
// path. Flannel's proxy sets DF always, and has the kernel fragment what turns
// out not to fit; packets without DF are fragmented here too, only earlier. It
// is never marked as ECN-capable: flannel's proxy drops the mark, and with it
// what the underlay says by it (RFC 6040 §4.1, compatibility mode).
func (l *Link) sendBare(o *outgoing, to *routetable.Route) {
	o.flow = o.settings.flow
	o.flow.Remote = netip.AddrPortFrom(to.Addr, to.Port)
	o.flow.DF = !l.ipv6 && encap.InnerDF(o.Frame, &o.layout)
	o.size = encap.PacketLen(o.Packet, &o.layout)
	l.tooBig(o, &to.Remote)
	if o.GSO.Type != encap.GSONone {
		segments, err := encap.CutSuperFrame(o.Packet, &o.layout)
		if err != nil {
			l.counters.drops.drop(BadLength)
			return
		}
		l.sentBare(o, &to.Remote)
		l.greet(o)
		l.port.sender.SuperFrame(&o.flow, 0, &segments, o.counted())
		return
	}
	if o.GSO.NeedsCsum && encap.FinishChecksum(o.Packet, &o.layout) != nil {
		l.counters.drops.drop(BadLength)
		return
	}
	l.sentBare(o, &to.Remote)
	l.port.sender.Datagram(&o.flow, l.greet(o), o.counted())
}

// sentBare tells the program of the flow of a packet, if the peer said that it takes
// what comes unfinished.
func (l *Link) sentBare(o *outgoing, to *routetable.Remote) {
	if l.routed.greetings.count(to.Addr, l.port.now) {
		o.hash = encap.FlowHash(o.Frame, &o.layout)
		l.sentTo(o, to)
	}
}

// unwrap takes apart what one receive call entry holds: one IP packet, or a run
// of datagrams with one each. Whoever sent it, it is taken, as by flannel's
// proxy, unless the link says whom to listen to.
func (l *Link) unwrap(d *underlay.Datagram, at *listener) {
	s := l.set.Load()
	l.short.begin()
	allowed := s.allowed == nil || s.allowed.Contains(d.From)
	for data := d.Data; ; {
		n := len(data)
		if d.Segment > 0 && d.Segment < n {
			n = d.Segment
		}
		if !allowed {
			l.counters.drops.drop(SourceNotAllowed)
		} else if l.routed.outerTOS != d.TOS || !l.joined.Extend(data[:n:n]) {
			l.acceptBare(data[:n:n], d)
		}
		if data = data[n:]; len(data) == 0 {
			break
		}
	}
	if !allowed {
		return
	}
	busy := l.heardFrom(routetable.MAC{}, d, at)
	if l.takesUnfinished() {
		l.routed.greetings.hears(d.From, busy, l.port.now)
	}
}

// acceptBare checks one datagram and queues the packet that it is.
func (l *Link) acceptBare(data []byte, d *underlay.Datagram) {
	packet, err := encap.TrimPacket(data)
	if err != nil {
		if encap.IsGreeting(data) {
			l.greeted(d.From, false)
			return
		}
		l.counters.drops.drop(bareReason(err))
		return
	}
	if encap.IsGreeting(data[len(packet):]) {
		l.greeted(d.From, true)
	}
	layout := encap.ParsePacket(packet)
	if encap.DecapECN(packet, &layout, d.TOS) != nil {
		l.counters.drops.drop(ECN)
		return
	}
	l.routed.outerTOS = d.TOS
	p := encap.Packet{Frame: packet}
	if gso := encap.DescribeReceived(packet, &layout, l.attrs.Load().mtu, d.Segment); gso.NeedsCsum {
		p.GSO = gso
	}
	l.queue(&p, &layout)
}

func bareReason(err error) Reason {
	if errors.Is(err, encap.ErrNotIP) {
		return NotIP
	}
	return BadLength
}
