package dataplane

import (
	"errors"
	"net/netip"
	"syscall"

	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// describe says what the outer headers of a frame are, but for the remote.
func (o *outgoing) describe(l *Link) {
	s, flow := o.settings, &o.flow
	*flow = s.flow
	o.hash = encap.FlowHash(o.Frame, &o.layout)
	flow.Socket = l.pool.Socket(o.hash)
	inner := encap.InnerTOS(o.Frame, &o.layout)
	dscp := s.cfg.TOS
	if s.cfg.TOSCopy {
		dscp = inner
	}
	flow.TOS = encap.OuterTOS(dscp, inner)
	if s.cfg.TTLCopy {
		flow.TTL = encap.InnerTTL(o.Frame, &o.layout)
	}
	if s.cfg.DF == DFInherit {
		flow.DF = encap.InnerDF(o.Frame, &o.layout)
	}
}

// setRemote completes a flow for one remote of an FDB entry.
func (s *settings) setRemote(flow *underlay.Flow, r *routetable.Remote) {
	flow.Remote = netip.AddrPortFrom(r.Addr, r.Port)
	flow.IfIndex = r.IfIndex
	if flow.TTL == 0 && s.cfg.TTLCopy && r.Addr.IsMulticast() {
		// There is nothing to inherit, and the kernel's device then takes the
		// route's hop limit for groups too, not the 1 that sockets have.
		flow.TTL = routeTTL
	}
}

// routeTTL is the hop limit of routes that name none (RFC 1700).
const routeTTL = 64

// Sent and Dropped book what became of the link's datagrams: a Link is the
// underlay.Account of what it sends.

// Sent counts frames that the kernel took.
func (l *Link) Sent(frames, bytes int) {
	l.counters.txPackets.Add(uint64(frames))
	l.counters.txBytes.Add(uint64(bytes))
}

// Dropped counts frames that the kernel refused to send to a remote. What a firewall
// refuses no program is to carry.
func (l *Link) Dropped(frames int, to netip.Addr, why error) {
	l.counters.drops.dropN(sendReason(why), frames)
	if errors.Is(why, syscall.EPERM) {
		l.short.refuse(to, l.port.now)
	}
}

func sendReason(why error) Reason {
	switch {
	case errors.Is(why, syscall.EMSGSIZE):
		return TooBig
	case errors.Is(why, syscall.ENETUNREACH), errors.Is(why, syscall.EHOSTUNREACH):
		return NoRoute
	}
	return SendError
}
