package dataplane

import (
	"net/netip"
	"time"

	"github.com/weftnet/weft/encap"
)

// unreachable answers packets that have no route.
type unreachable struct {
	limit icmpLimit
	own   ownAddresses
	asked time.Duration // when the system was asked for those, 0 = never
}

// addressesAge is how long what the system said of the device's addresses
// counts: it is asked only while there are packets without a route.
const addressesAge = time.Second

// dummyAddress is what answers come from where there is no address (RFC 7600
// §4.8, as in the kernel).
var dummyAddress = netip.AddrFrom4([4]byte{192, 0, 0, 8})

// noRoute drops a packet that has no route and tells its sender so, through the
// device: it is this host, or one behind it.
func (l *Link) noRoute(o *outgoing) {
	l.counters.drops.drop(NoRoute)
	u, out := &l.routed.unreachable, l.port.reply[:]
	to := destination(o.Frame, &o.layout)
	answer := encap.NoRoute(out, o.Frame, &o.layout, to)
	answered := encap.ParsePacket(answer)
	if len(answer) == 0 || !u.limit.allows(destination(answer, &answered), l.port.now) {
		return
	}
	if now := l.port.now; u.asked == 0 || now-u.asked >= addressesAge {
		u.own.ask(l.device)
		u.asked = max(now, 1)
	}
	from, taken := u.own.of(to)
	answer = encap.NoRoute(out, o.Frame, &o.layout, from)
	// What the device does not take was due to nobody.
	_ = l.device.Write(&encap.Coalesced{Packet: encap.Packet{Frame: answer}})
	taken()
}

func destination(packet []byte, l *encap.Layout) netip.Addr {
	addr, _ := netip.AddrFromSlice(encap.Destination(packet, l))
	return addr
}

// of returns what an answer about a packet to an address comes from, and what is
// to be called when it is written. That is the device's address, and where it
// cannot be, the packet's destination, as in answers of the kernel's tunnels.
func (o *ownAddresses) of(to netip.Addr) (from netip.Addr, written func()) {
	nothing := func() {}
	switch {
	case to.Is4() && !o.v4.IsValid():
		return dummyAddress, nothing
	case to.Is4() && o.begin():
		return o.v4, o.end
	case to.Is6() && o.v6.IsValid():
		return o.v6, nothing
	}
	return to, nothing
}
