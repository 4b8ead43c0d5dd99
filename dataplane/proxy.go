package dataplane

import (
	"net/netip"
	"sync/atomic"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// neighbours is what a link with `proxy` knows of the neighbour table of its
// device, which the system holds.
type neighbours struct {
	// table is replaced as a whole, so that the worker looks into it without a
	// lock.
	table atomic.Pointer[map[netip.Addr]neighbour]

	moved   chan struct{}   // the device may be elsewhere: look again
	unknown chan netip.Addr // to be told of if the system does not know them either
}

// neighbour is one entry.
type neighbour struct {
	mac       routetable.MAC
	connected bool // permanent, noarp or reachable: NUD_CONNECTED
}

// unknownAddresses is how many addresses wait for the system to be asked.
const unknownAddresses = 256

func newNeighbours() *neighbours {
	n := &neighbours{moved: make(chan struct{}, 1), unknown: make(chan netip.Addr, unknownAddresses)}
	n.table.Store(&map[netip.Addr]neighbour{})
	return n
}

// lookAgain has the table read anew where the device is now. A link without
// `proxy` has none.
func (n *neighbours) lookAgain() {
	if n == nil {
		return
	}
	select {
	case n.moved <- struct{}{}:
	default:
	}
}

// proxy keeps ARP and neighbour solicitations to itself, whether it can answer
// them or not. It reports whether frame was one.
//
// The kernel's device counts neither these frames nor its answers (6.18). Here
// those without an answer count as dropped, by a reason of their own.
func (l *Link) proxy(frame []byte) bool {
	target, is := encap.ParseSolicitation(frame)
	if !is {
		return false
	}
	reply := l.neighbourReply(frame, target)
	if len(reply) == 0 {
		l.counters.drops.drop(Proxy)
		return true
	}
	if err := l.device.Write(&encap.Coalesced{Packet: encap.Packet{Frame: reply}}); err != nil {
		l.counters.drops.drop(writeReason(err))
	}
	return true
}

// minMTU6 is the MTU without which a device has no IPv6 (RFC 8200 §5), and no
// neighbours there.
const minMTU6 = 1280

// neighbourReply returns the answer to the question for target, nothing if
// there is none, and has an address be told of that has no entry at all. An
// entry that is not connected is one: somebody looks after it already.
func (l *Link) neighbourReply(frame []byte, target netip.Addr) []byte {
	attrs := l.attrs.Load()
	if !target.IsValid() || target.Is4() && attrs.noARP || target.Is6() && attrs.mtu < minMTU6 {
		return nil
	}
	n, known := (*l.neighbours.table.Load())[target]
	if !known {
		l.missAddress(target)
	}
	if !n.connected {
		return nil
	}
	router := l.fdb.IsRouter(n.mac, l.port.tick) // marks it used, as for ARP too in the kernel
	if target.Is4() {
		return encap.ARPReply(l.port.reply[:], frame, n.mac)
	}
	return encap.NeighbourAdvertisement(l.port.reply[:], frame, n.mac, router)
}

// missAddress has an address be told of where that is wanted, once the system
// was asked for it. It never waits.
func (l *Link) missAddress(addr netip.Addr) {
	all := l.watchers.Load()
	if !l.set.Load().cfg.L3Miss || all == nil || len(*all) == 0 {
		return
	}
	select {
	case l.neighbours.unknown <- addr:
	default:
		for _, w := range *all {
			w.lost.Add(1)
		}
	}
}

// tellMissed tells of an address without a neighbour entry.
func (l *Link) tellMissed(addr netip.Addr) {
	event := l.event(EventIPMiss)
	event.Address = addr
	l.tell(event)
}
