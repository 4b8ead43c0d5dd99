package dataplane

import (
	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// transmit moves one batch of frames from the link's device to the sockets. It
// reports whether there was anything, and tap.ErrClosed when the device is
// gone.
func (l *Link) transmit(batch *tap.Batch, out *underlay.Sender) (busy bool, err error) {
	err = l.device.Read(batch)
	for i := range batch.Packets {
		l.encapsulate(batch, i, out)
	}
	out.Flush()
	return len(batch.Packets) > 0, err
}

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
	remotes := l.fdb.Lookup(macAt(p.Frame, 0))
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
	queueFrame(batch.Datagram(i), remotes, &flow, out)
}

// queueFrame queues a datagram whose VXLAN header is still to be written, once
// for each remote. All copies share the header's memory, so a remote with a
// VNI of its own has to wait until the copies before it are sent.
func queueFrame(datagram []byte, remotes []routetable.Remote, flow *underlay.Flow, out *underlay.Sender) {
	for r := range remotes {
		if r == 0 || remotes[r].VNI != remotes[r-1].VNI {
			if r > 0 {
				out.Flush()
			}
			encap.PutHeader(datagram, remotes[r].VNI)
		}
		setRemote(flow, &remotes[r])
		out.Datagram(flow, datagram, countedBytes(len(datagram)-encap.HeaderLen))
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
		out.SuperFrame(flow, remotes[r].VNI, &segments, countedBytes(len(p.Frame)))
	}
}
