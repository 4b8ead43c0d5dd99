package dataplane

import (
	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// deviceSource is a link's device as the loop serves it.
type deviceSource struct {
	link    *Link
	batch   *tap.Batch
	backlog backlog
	queue   deviceQueue
}

// read takes a batch of frames from the device. It fails when the device is
// gone.
func (s *deviceSource) read() (busy bool, err error) {
	if s.link.short == nil {
		err = s.link.device.Read(s.batch)
		return len(s.batch.Packets) > 0, err
	}
	s.backlog.begin(s.link.short.slot)
	err = s.link.device.Read(s.batch)
	s.backlog.took(s.link.short.slot, len(s.batch.Packets))
	busy = len(s.batch.Packets) > 0
	if !busy {
		s.handled()
	}
	return busy, err
}

// handled is called once the batch has been sent.
func (s *deviceSource) handled() {
	if s.link.short != nil {
		s.backlog.handled(s.link.short.slot, len(s.batch.Packets), !s.batch.Full(), &s.queue)
	}
}

// handle moves the batch to the sockets.
func (s *deviceSource) handle() {
	p := s.link.port
	p.ring.catchUp()
	p.lookAtClock()
	s.link.short.begin()
	s.prefetch()
	var o outgoing // one for all frames: to clear it costs as much as to look at a frame's headers
	for i := range s.batch.Packets {
		o.Packet, o.datagram = &s.batch.Packets[i], s.batch.Datagram(i)
		s.link.encapsulate(&o)
	}
	p.sender.Flush()
	s.handled()
}

// prefetch has the processor fetch what the batch's lookups will read.
func (s *deviceSource) prefetch() {
	for i := range s.batch.Packets {
		s.link.prefetch(s.batch.Packets[i].Frame)
	}
}

// lost has the link removed: its device was deleted by somebody else.
func (s *deviceSource) lost(error) { go s.link.port.owner.deviceGone(s.link) }

// outgoing is one frame or super-frame on its way out.
type outgoing struct {
	*encap.Packet
	datagram []byte // the frame with room for a VXLAN header in front

	// What is found out about it.
	layout   encap.Layout
	settings *settings
	flow     underlay.Flow
	hash     uint32 // of the flow
	size     int    // of the largest IP packet in it, see encap.PacketLen
}

// counted is what the frame counts for in bytes.
func (o *outgoing) counted() int { return len(o.Frame) - o.layout.L3 }

// prefetch has the processor fetch what the lookup of a frame or packet will read,
// while others are looked up. Among a million entries that is what most of a
// lookup waits for.
func (l *Link) prefetch(frame []byte) {
	switch {
	case l.routed != nil:
		l.routed.routes.Prefetch(encap.PacketDestination(frame))
	case len(frame) >= encap.EtherHeaderLen:
		l.fdb.Prefetch(macAt(frame, 0))
	}
}

// encapsulate queues a frame to wherever the FDB says, whole: one look at its
// headers and one lookup serve all segments of a super-frame.
func (l *Link) encapsulate(o *outgoing) {
	o.settings = l.set.Load()
	if len(o.Frame) < encap.EtherHeaderLen {
		l.counters.drops.drop(ShortFrame)
		return
	}
	o.layout.ParseFrame(o.Frame)
	if o.layout.CheckLength(o.Frame) != nil {
		l.counters.drops.drop(BadLength)
		return
	}
	if o.layout.Tags > 0 && o.settings.cfg.DropVLAN {
		l.counters.drops.drop(VLAN)
		return
	}
	if o.settings.cfg.Proxy && l.proxy(o.Frame) {
		return
	}
	dst := macAt(o.Frame, 0)
	remotes := l.fdb.Lookup(dst, l.port.tick)
	if len(remotes) == 0 {
		l.miss(o.settings, dst)
		return
	}
	l.send(o, remotes)
}

// send queues the frame once for each remote.
func (l *Link) send(o *outgoing, remotes []routetable.Remote) {
	o.describe(l)
	o.size = encap.PacketLen(o.Packet, &o.layout)
	if o.GSO.Type != encap.GSONone {
		l.sendSuperFrame(o, remotes)
		return
	}
	if o.GSO.NeedsCsum && encap.FinishChecksum(o.Packet, &o.layout) != nil {
		l.counters.drops.drop(BadLength)
		return
	}
	l.sendFrame(o, remotes)
}

// sendFrame queues a datagram once for each remote. All copies share the
// memory of its VXLAN header, so a remote with a VNI of its own has to wait
// until the copies before it are sent.
func (l *Link) sendFrame(o *outgoing, remotes []routetable.Remote) {
	out, written := l.port.sender, false
	var vni uint32
	for r := range remotes {
		if l.tooBig(o, &remotes[r]) {
			continue
		}
		if !written || remotes[r].VNI != vni {
			if written {
				out.Flush()
			}
			vni, written = remotes[r].VNI, true
			encap.PutHeader(o.datagram, vni)
		}
		o.settings.setRemote(&o.flow, &remotes[r])
		if len(remotes) == 1 {
			l.sentTo(o, &remotes[r])
		}
		out.Datagram(&o.flow, o.datagram, o.counted())
	}
}

// sendSuperFrame queues the segments of a super-frame, once for each remote.
func (l *Link) sendSuperFrame(o *outgoing, remotes []routetable.Remote) {
	segments, err := encap.CutSuperFrame(o.Packet, &o.layout)
	if err != nil {
		l.counters.drops.drop(BadLength)
		return
	}
	for r := range remotes {
		if l.tooBig(o, &remotes[r]) {
			continue
		}
		o.settings.setRemote(&o.flow, &remotes[r])
		if len(remotes) == 1 {
			l.sentTo(o, &remotes[r])
		}
		if l.inject(o, &remotes[r]) {
			continue
		}
		l.port.sender.SuperFrame(&o.flow, remotes[r].VNI, &segments, o.counted())
	}
}
