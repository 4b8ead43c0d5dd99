package dataplane

import (
	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// deviceSource is a link's device as the loop serves it.
type deviceSource struct {
	link  *Link
	batch *tap.Batch
}

// read takes a batch of frames from the device. It fails when the device is
// gone.
func (s *deviceSource) read() (busy bool, err error) {
	err = s.link.device.Read(s.batch)
	return len(s.batch.Packets) > 0, err
}

// handle moves the batch to the sockets.
func (s *deviceSource) handle() {
	for i := range s.batch.Packets {
		s.link.encapsulate(s.batch, i, s.link.port.sender)
	}
	s.link.port.sender.Flush()
}

// lost has the link removed: its device was deleted by somebody else.
func (s *deviceSource) lost(error) { go s.link.port.owner.deviceGone(s.link) }

// encapsulate queues frame i of the batch to wherever the FDB says, whole: one
// look at its headers and one lookup serve all segments of a super-frame.
func (l *Link) encapsulate(batch *tap.Batch, i int, out *underlay.Sender) {
	p := &batch.Packets[i]
	if len(p.Frame) < encap.EtherHeaderLen {
		l.counters.drops.drop(ShortFrame)
		return
	}
	layout := encap.ParseFrame(p.Frame)
	if layout.CheckLength(p.Frame) != nil {
		l.counters.drops.drop(BadLength)
		return
	}
	remotes := l.fdb.Lookup(macAt(p.Frame, 0), 0)
	if len(remotes) == 0 {
		l.counters.drops.drop(FDBMiss)
		return
	}
	flow := l.flowOf(p.Frame, &layout)
	if p.GSO.Type != encap.GSONone {
		l.queueSuperFrame(p, &layout, remotes, &flow, out)
		return
	}
	if p.GSO.NeedsCsum && encap.FinishChecksum(p, &layout) != nil {
		l.counters.drops.drop(BadLength)
		return
	}
	queueFrame(batch.Datagram(i), len(p.Frame)-layout.L3, remotes, &flow, out)
}

// queueFrame queues a datagram whose VXLAN header is still to be written, once
// for each remote. counted is what it counts for in bytes. All copies share the header's memory, so a remote with a
// VNI of its own has to wait until the copies before it are sent.
func queueFrame(datagram []byte, counted int, remotes []routetable.Remote, flow *underlay.Flow, out *underlay.Sender) {
	for r := range remotes {
		if r == 0 || remotes[r].VNI != remotes[r-1].VNI {
			if r > 0 {
				out.Flush()
			}
			encap.PutHeader(datagram, remotes[r].VNI)
		}
		setRemote(flow, &remotes[r])
		out.Datagram(flow, datagram, counted)
	}
}

// queueSuperFrame queues the segments of a super-frame, once for each remote.
func (l *Link) queueSuperFrame(p *encap.Packet, layout *encap.Layout, remotes []routetable.Remote, flow *underlay.Flow, out *underlay.Sender) {
	segments, err := encap.CutSuperFrame(p, layout)
	if err != nil {
		l.counters.drops.drop(BadLength)
		return
	}
	for r := range remotes {
		setRemote(flow, &remotes[r])
		out.SuperFrame(flow, remotes[r].VNI, &segments, len(p.Frame)-layout.L3)
	}
}
