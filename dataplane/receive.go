package dataplane

import (
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
}

// read takes a batch of datagrams from the socket. Errors of a socket that is
// not connected are about datagrams sent before, and never last.
func (s *socketSource) read() (busy bool, err error) {
	s.datagrams, _ = s.from.Receive()
	return len(s.datagrams) > 0, nil
}

// handle moves the batch to the devices. Frames that belong together are
// joined before they are written.
func (s *socketSource) handle() {
	s.port.lookAtClock()
	s.takeApart()
	s.port.deliver()
}

// takeApart queues the frames of the batch to their links.
func (s *socketSource) takeApart() {
	for i := range s.datagrams {
		s.port.split(&s.datagrams[i], s.from)
	}
}

func (s *socketSource) lost(error) {}

// split takes apart what one receive call entry holds: one VXLAN packet, or a
// run of them that UDP_GRO joined.
func (p *port) split(d *underlay.Datagram, from *listener) {
	data := d.Data
	for len(data) > 0 {
		n := encap.SplitDatagram(data, d.Segment)
		inner := 0
		if n == len(d.Data) {
			inner = d.Segment // of a UDP super-frame inside, if it says anything
		}
		p.decapsulate(data[:n:n], d, inner, from)
		data = data[n:]
	}
	if len(d.Data) == 0 {
		p.drops.drop(ShortHeader)
	}
}

// decapsulate checks one VXLAN packet of d, in the kernel's order, and queues
// the frame inside to its link.
func (p *port) decapsulate(packet []byte, d *underlay.Datagram, segment int, from *listener) {
	header, err := encap.ParseHeader(packet)
	if err != nil {
		p.drops.drop(decapReason(err))
		return
	}
	link := from.links[header.VNI]
	if link == nil || !link.hears(d) {
		p.drops.drop(UnknownVNI)
		return
	}
	s := link.set.Load()
	if s.allowed != nil && !s.allowed.Contains(d.From) {
		link.counters.drops.drop(SourceNotAllowed)
		return
	}
	if header.Reserved && !s.cfg.IgnoreReserved {
		link.counters.drops.drop(ReservedBits)
		return
	}
	link.accept(packet[encap.HeaderLen:], d, segment, s)
}

// hears reports whether the datagram came where the link is: one with
// link-local addresses is only on its own device.
func (l *Link) hears(d *underlay.Datagram) bool {
	s := l.set.Load()
	return !s.cfg.Local.IsLinkLocalUnicast() || !l.ipv6 || d.IfIndex == 0 || d.IfIndex == s.devIndex
}

// accept queues a frame to the link's device, or drops it.
func (l *Link) accept(frame []byte, d *underlay.Datagram, segment int, s *settings) {
	if len(frame) < encap.EtherHeaderLen {
		l.counters.drops.drop(ShortFrame)
		return
	}
	attrs := l.attrs.Load()
	source := macAt(frame, 6)
	if source == attrs.mac {
		l.counters.drops.drop(OwnSource)
		return
	}
	p, layout := encap.Packet{Frame: frame}, encap.Layout{}
	layout.ParseFrame(frame)
	if layout.Tags > 0 && s.cfg.DropVLAN {
		l.counters.drops.drop(VLAN)
		return
	}
	if !s.cfg.NoLearning && attrs.up && !l.learn(source, d) {
		return
	}
	if layout.CheckLength(frame) != nil {
		l.counters.drops.drop(BadLength)
		return
	}
	if encap.DecapECN(frame, &layout, d.TOS) != nil {
		l.counters.drops.drop(ECN)
		return
	}
	if !l.dirty {
		l.dirty = true
		l.port.dirty = append(l.port.dirty, l)
	}
	if gso := encap.DescribeReceived(frame, &layout, attrs.mtu, segment); gso.NeedsCsum {
		p.GSO = gso
	}
	l.joined.Add(&p, &layout)
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
		if err := l.device.Write(f); err != nil {
			frames, _ := f.Arrived()
			l.counters.drops.dropN(writeReason(err), frames)
			continue
		}
		l.counters.received(f)
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
