package dataplane

import (
	"math/rand/v2"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// routed is what a link has whose device carries IP packets.
type routed struct {
	routes *routetable.Routes
	mac    routetable.MAC // with L3: the source of inner frames, and what is received is for it

	// The worker's.
	unreachable unreachable
	outerTOS    uint8 // of the bare packet before
	greetings   greetings
}

func newRouted(r *resolved, s *short) *routed {
	n := &routed{routes: routetable.NewRoutes()}
	n.routes.Changes = s.changes()
	if r.cfg.L3 {
		// resolve has made sure that there is one.
		_ = n.mac.UnmarshalText([]byte(r.cfg.Address))
	}
	return n
}

// chooseAddress gives a link with L3 the MAC that its device has not: a random
// one, locally administered, which stays.
func (r *resolved) chooseAddress() {
	if !r.cfg.L3 {
		return
	}
	bits := rand.Uint64()
	mac := routetable.MAC{byte(bits)&^3 | 2, byte(bits >> 8), byte(bits >> 16), byte(bits >> 24), byte(bits >> 32), byte(bits >> 40)}
	r.cfg.Address = mac.String()
}

// headroom is what the link's packets need in front of them when they are read
// from the device.
func (c *LinkConfig) headroom() int {
	if c.L3 {
		return encap.HeaderLen + encap.EtherHeaderLen
	}
	return 0
}

// routedSource is the device of a routed link as the loop serves it.
type routedSource struct{ deviceSource }

// handle moves the batch to the sockets.
func (s *routedSource) handle() {
	p := s.link.port
	p.ring.catchUp()
	p.lookAtClock()
	s.link.short.begin()
	s.prefetch()
	var o outgoing
	for i := range s.batch.Packets {
		o.Packet, o.datagram = &s.batch.Packets[i], s.batch.Datagram(i)
		s.link.route(&o)
	}
	p.sender.Flush()
	s.handled()
}

// route queues a packet or super-frame to where the routes say.
func (l *Link) route(o *outgoing) {
	o.settings = l.set.Load()
	o.layout.ParsePacket(o.Frame)
	if o.layout.Version == 0 {
		l.counters.drops.drop(NotIP)
		return
	}
	to := l.routed.routes.Lookup(encap.Destination(o.Frame, &o.layout))
	switch {
	case to == nil:
		l.noRoute(o)
	case o.settings.cfg.L3:
		l.sendRouted(o, to)
	default:
		l.sendBare(o, to)
	}
}

// sendRouted puts an Ethernet header in front of a packet: then it is a frame
// like others.
func (l *Link) sendRouted(o *outgoing, to *routetable.Route) {
	o.Frame = o.datagram[encap.HeaderLen:]
	o.Frame = o.Frame[:len(o.Frame):len(o.Frame)]
	encap.PutEtherHeader(o.Frame, to.MAC, l.routed.mac, o.layout.Version)
	o.layout.Shift(encap.EtherHeaderLen)
	o.GSO.Shift(encap.EtherHeaderLen)
	remotes := [1]routetable.Remote{to.Remote}
	l.send(o, remotes[:])
}

// acceptRouted is accept for a link whose device carries IP packets: the frame
// has to be for the link, and to have one. Its Ethernet header is taken off when
// it is written, so that frames are joined as others are.
func (l *Link) acceptRouted(frame []byte, r *received) bool {
	drops := &l.counters.drops
	l.short.begin()
	if macAt(frame, 6) == l.routed.mac {
		drops.drop(OwnSource)
		return false
	}
	if macAt(frame, 0) != l.routed.mac {
		drops.drop(OtherHost)
		return false
	}
	p, layout := encap.Packet{Frame: frame}, encap.Layout{}
	layout.ParseFrame(frame)
	if !layout.CarriesIP() {
		drops.drop(noIPReason(frame, &layout))
		return false
	}
	if encap.DecapECN(frame, &layout, r.TOS) != nil {
		drops.drop(ECN)
		return false
	}
	if gso := encap.DescribeReceived(frame, &layout, l.attrs.Load().mtu, r.Segment); gso.NeedsCsum {
		p.GSO = gso
	}
	l.queue(&p, &layout)
	l.heardFrom(macAt(frame, 6), r.Datagram, r.from)
	return true
}

// noIPReason says why a frame has no IP packet: its device would not have got it
// from the kernel's tunnel either.
func noIPReason(frame []byte, l *encap.Layout) Reason {
	switch {
	case l.Tags > 0:
		return VLAN
	case l.CheckLength(frame) != nil:
		return BadLength
	}
	return NotIP
}

// stripEther takes the Ethernet header off a frame that is to be written.
func (l *Link) stripEther(f *encap.Coalesced) {
	f.Frame = f.Frame[l.head:]
	f.GSO.Shift(-l.head)
}
