package dataplane

import (
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// tooBig looks whether the path to r carries the frame, and if not, tells the
// frame's sender so with an ICMP error from the device, as the kernel does
// (skb_tunnel_check_pmtu, Linux 5.10). It reports whether the frame must not
// be sent.
//
// Behind a bridge port the error is all that the sender gets, and the frame is
// dropped. Otherwise the sender is this host or behind it. There the kernel's
// device changes the route and sends the frame all the same, in fragments
// where the underlay may fragment; the error is how a TAP makes the stack
// change the route.
func (l *Link) tooBig(o *outgoing, r *routetable.Remote) bool {
	if o.size < minReplyMTU || l.path == nil {
		return false
	}
	path := l.path.Of(r.Addr, r.IfIndex, l.port.now)
	mtu := path - l.outer
	if path == 0 || o.size <= mtu {
		return false
	}
	reply := encap.TooBig(l.port.reply[:], o.Frame, &o.layout, mtu)
	if len(reply) == 0 {
		return false
	}
	if !l.attrs.Load().bridge {
		_ = l.device.Write(&encap.Coalesced{Packet: encap.Packet{Frame: reply}})
		return false
	}
	l.counters.drops.drop(TooBig)
	l.tellSender(reply)
	return true
}

// minReplyMTU is the smallest MTU that the sender is told of over IPv4
// (RFC 791: what every host takes); over IPv6 it is larger.
const minReplyMTU = 576

// tellSender gives a frame of weft's own to the device. It counts as the kernel's
// device counts what it sends to itself: whole, and in both directions.
func (l *Link) tellSender(frame []byte) {
	l.counters.txPackets.Add(1)
	l.counters.txBytes.Add(uint64(len(frame)))
	if err := l.device.Write(&encap.Coalesced{Packet: encap.Packet{Frame: frame}}); err != nil {
		l.counters.drops.drop(writeReason(err))
		return
	}
	l.counters.rxPackets.Add(1)
	l.counters.rxBytes.Add(uint64(len(frame)))
}
