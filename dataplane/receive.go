package dataplane

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// socketSource is a port's receiving socket as the loop serves it.
type socketSource struct {
	port      *port
	from      *listener
	datagrams []underlay.Datagram
	backlog   backlog
	queue     socketQueue
}

// read takes a batch of datagrams from the socket. Errors of a socket that is
// not connected are about datagrams sent before, and never last.
func (s *socketSource) read() (busy bool, err error) {
	if s.from.queue == nil {
		s.datagrams, _ = s.from.Receive()
		return len(s.datagrams) > 0, nil
	}
	s.backlog.begin(s.from.queue)
	s.datagrams, _ = s.from.Receive()
	s.backlog.took(s.from.queue, len(s.datagrams))
	busy = len(s.datagrams) > 0
	if !busy {
		s.handled()
	}
	return busy, nil
}

// handled is called once the batch has been delivered.
func (s *socketSource) handled() {
	if s.from.queue != nil {
		s.backlog.handled(s.from.queue, len(s.datagrams), s.from.Emptied(), &s.queue)
	}
}

// handle moves the batch to the devices. Frames that belong together are
// joined before they are written.
func (s *socketSource) handle() {
	s.port.lookAtClock()
	s.takeApart()
	s.port.deliver()
	s.handled()
}

// takeApart queues the frames of the batch to their links.
func (s *socketSource) takeApart() {
	if s.from.bare != nil {
		for i := range s.datagrams {
			s.from.bare.unwrap(&s.datagrams[i], s.from)
		}
		return
	}
	s.prefetch()
	r := received{from: s.from}
	for i := range s.datagrams {
		s.port.split(&s.datagrams[i], &r)
	}
}

// prefetch has the processor fetch what learning from the batch will read. Of
// packets that UDP_GRO joined the first stands for all: they are of one flow.
func (s *socketSource) prefetch() {
	var link *Link
	var header uint64 // of the packet before, which most are like
	for i := range s.datagrams {
		packet := s.datagrams[i].Data
		if len(packet) < encap.HeaderLen+encap.EtherHeaderLen {
			continue
		}
		if h := headerOf(packet); h != header {
			link, header = s.learner(packet), h
		}
		if link != nil {
			link.fdb.Prefetch(macAt(packet[encap.HeaderLen:], 6))
		}
	}
}

// learner returns the link that is to learn from a packet, nil if none is.
func (s *socketSource) learner(packet []byte) *Link {
	header, err := encap.ParseHeader(packet)
	if err != nil {
		return nil
	}
	link := s.from.links[header.VNI]
	if link == nil || link.fdb == nil || link.set.Load().cfg.NoLearning {
		return nil
	}
	return link
}

func (s *socketSource) lost(error) {}

// received is where a batch stands: the datagram that is looked at, and the
// packet before, which the next one mostly is like.
type received struct {
	*underlay.Datagram
	from *listener

	link   *Link          // that took the packet before; nil if none did, or its outer headers were others
	header uint64         // its VXLAN header
	source routetable.MAC // its inner source
}

// split takes apart what one receive call entry holds: one VXLAN packet, or a
// run of them that UDP_GRO joined.
func (p *port) split(d *underlay.Datagram, r *received) {
	if r.link != nil && (d.From != r.From || d.TOS != r.TOS || d.IfIndex != r.IfIndex) {
		r.link = nil
	}
	r.Datagram = d
	data := d.Data
	n := encap.SplitDatagram(data, d.Segment)
	for ; n < len(data); data = data[n:] {
		p.receive(data[:n:n], r)
	}
	p.receive(data[:len(data):len(data)], r)
}

// receive takes a VXLAN packet. What is done with one is decided by its outer
// and inner headers and nothing else. So a segment that goes on where the packet
// before ended, which was taken, is taken too.
func (p *port) receive(packet []byte, r *received) {
	link := r.link
	if link == nil || len(packet) < encap.HeaderLen || headerOf(packet) != r.header {
		link = p.decapsulate(packet, r)
	} else if link.joined.Extend(packet[encap.HeaderLen:]) {
		return
	}
	if link == nil || !link.accept(packet[encap.HeaderLen:], r) {
		r.link = nil
		return
	}
	r.link, r.header = link, headerOf(packet)
}

func headerOf(packet []byte) uint64 { return binary.NativeEndian.Uint64(packet) }

// decapsulate checks a VXLAN packet, in the kernel's order, as far as its link.
// It returns that, or nil if the packet was dropped.
func (p *port) decapsulate(packet []byte, r *received) *Link {
	header, err := encap.ParseHeader(packet)
	if err != nil {
		p.drops.drop(decapReason(err))
		return nil
	}
	link := r.from.links[header.VNI]
	if link == nil || !link.hears(r.Datagram) {
		p.drops.drop(UnknownVNI)
		return nil
	}
	s := link.set.Load()
	if s.allowed != nil && !s.allowed.Contains(r.From) {
		link.counters.drops.drop(SourceNotAllowed)
		return nil
	}
	if header.Reserved && !s.cfg.IgnoreReserved {
		link.counters.drops.drop(ReservedBits)
		return nil
	}
	return link
}

// hears reports whether the datagram came where the link is: one with
// link-local addresses is only on its own device.
func (l *Link) hears(d *underlay.Datagram) bool {
	s := l.set.Load()
	return !s.cfg.Local.IsLinkLocalUnicast() || !l.ipv6 || d.IfIndex == 0 || d.IfIndex == s.devIndex
}

// accept checks a frame, in the kernel's order, and queues it to the link's
// device. It returns false if it was dropped.
func (l *Link) accept(frame []byte, r *received) bool {
	if len(frame) < encap.EtherHeaderLen {
		l.counters.drops.drop(ShortFrame)
		return false
	}
	if l.routed != nil {
		return l.acceptRouted(frame, r)
	}
	attrs, s := l.attrs.Load(), l.set.Load()
	source := macAt(frame, 6)
	l.short.begin()
	if source == attrs.mac {
		l.counters.drops.drop(OwnSource)
		return false
	}
	p, layout := encap.Packet{Frame: frame}, encap.Layout{}
	layout.ParseFrame(frame)
	if layout.Tags > 0 && s.cfg.DropVLAN {
		l.counters.drops.drop(VLAN)
		return false
	}
	if known := r.link == l && r.source == source; !known && !s.cfg.NoLearning && attrs.up && !l.learn(source, r.Datagram) {
		return false
	}
	r.source = source
	if layout.CheckLength(frame) != nil {
		l.counters.drops.drop(BadLength)
		return false
	}
	if encap.DecapECN(frame, &layout, r.TOS) != nil {
		l.counters.drops.drop(ECN)
		return false
	}
	// In a run no payload is longer than Segment, so that is not taken for the
	// size of what is in a UDP super-frame.
	if gso := encap.DescribeReceived(frame, &layout, attrs.mtu, r.Segment); gso.NeedsCsum {
		p.GSO = gso
	}
	l.queue(&p, &layout)
	l.heardFrom(source, r.Datagram, r.from)
	return true
}

// queue has a frame written to the device at the end of the turn.
func (l *Link) queue(p *encap.Packet, layout *encap.Layout) {
	if !l.dirty {
		l.dirty = true
		l.port.dirty = append(l.port.dirty, l)
	}
	l.joined.Add(p, layout)
}

// learn notes which VTEP a frame's source is behind, and drops the frame if
// that cannot be.
func (l *Link) learn(source routetable.MAC, d *underlay.Datagram) bool {
	switch l.fdb.Learn(source, d.From, d.IfIndex, l.port.tick) {
	case routetable.Invalid:
		l.counters.drops.drop(InvalidSource)
		return false
	case routetable.Pinned:
		l.counters.drops.drop(PinnedSource)
		return false
	}
	return true
}

// deliver writes what has been queued to the devices.
func (p *port) deliver() {
	for _, l := range p.dirty {
		l.write()
		l.dirty = false
	}
	p.dirty = p.dirty[:0]
}

// write hands the link's queue to its device. A frame that the device refuses
// costs only itself.
func (l *Link) write() {
	frames := l.joined.Frames()
	for i := range frames {
		f := &frames[i]
		if l.routed != nil {
			l.stripEther(f)
		}
		if err := l.device.Write(f); err != nil {
			frames, _ := f.Arrived()
			l.counters.drops.dropN(writeReason(err), frames)
			continue
		}
		l.counters.received(f, l.head)
	}
	l.joined.Reset()
}

func decapReason(err error) Reason {
	if errors.Is(err, encap.ErrNoVNIFlag) {
		return NoVNIFlag
	}
	return ShortHeader
}

func writeReason(err error) Reason {
	switch {
	case errors.Is(err, tap.ErrDown), errors.Is(err, tap.ErrClosed):
		return DeviceDown
	case errors.Is(err, encap.ErrGSO), errors.Is(err, syscall.EINVAL):
		return BadLength
	}
	return DeviceFull
}
