package dataplane

import (
	"net/netip"
	"time"

	"github.com/weftnet/weft/encap"
)

// unreachable answers packets that have no route.
type unreachable struct {
	limit  icmpLimit
	v4, v6 netip.Addr    // what answers are from
	asked  time.Duration // when the system was asked for those, 0 = never
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
	u := &l.routed.unreachable
	if now := l.port.now; u.asked == 0 || now-u.asked >= addressesAge {
		u.v4, u.v6 = deviceAddresses(l.device)
		u.asked = max(now, 1)
		if !u.v4.IsValid() {
			u.v4 = dummyAddress
		}
	}
	src := u.v4
	if o.layout.Version == 6 {
		src = u.v6
	}
	answer := encap.NoRoute(l.port.reply[:], o.Frame, &o.layout, src)
	if len(answer) == 0 {
		return
	}
	answered := encap.ParsePacket(answer)
	if !u.limit.allows(encap.Destination(answer, &answered), l.port.now) {
		return
	}
	// What the device does not take was due to nobody.
	_ = l.device.Write(&encap.Coalesced{Packet: encap.Packet{Frame: answer}})
}
