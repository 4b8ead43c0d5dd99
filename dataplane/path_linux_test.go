//go:build !portable

package dataplane

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// What is moved: a TCP super-frame of 62 KB, and as many UDP datagrams of 64
// bytes as one message carries.
const (
	segments  = 44
	mss       = 1398
	smallSize = 64
	smalls    = 64
)

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	vtep = netip.MustParseAddr("192.0.2.2")
)

// path is what a frame meets in this process: a link whose device and sockets
// are not asked for anything.
type path struct {
	*Link
	from    *listener
	packets [smalls]encap.Packet
}

func newPath(t testing.TB) *path {
	t.Helper()
	socket, err := underlay.Listen(false, 0) // any free port
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	pool, err := underlay.OpenPool(false, 40000, 41000, socket.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close(socket.Socket) })
	p := &port{sender: underlay.NewSender()}
	p.sender.Discard()
	p.lookAtClock()
	l := newLink(p, &resolved{cfg: LinkConfig{VNI: 5, Remote: vtep, Port: 4789}}, &tap.Device{}, pool, nil)
	l.joined.TCP, l.joined.UDP = true, true
	l.attrs.Store(&attributes{mtu: 1450, mac: routetable.MAC{2, 0, 0, 0, 0, 9}, up: true})
	l.fdb.Learn(routetable.MAC(macB), vtep, 0, p.tick)
	if l.path, err = underlay.OpenPathMTU(false, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.path.Close() })
	return &path{Link: l, from: &listener{Receiver: socket, links: map[uint32]*Link{5: l}}}
}

// send does as deviceSource with a batch of frames.
func (p *path) send(batch []outFrame) {
	for i := range batch {
		p.prefetch(batch[i].Frame)
	}
	var o outgoing
	for i := range batch {
		p.packets[i] = batch[i].Packet // sending completes checksums, and notes that
		o.Packet, o.datagram = &p.packets[i], batch[i].datagram
		p.encapsulate(&o)
	}
	p.port.sender.Flush()
}

// receive does as socketSource with a batch of datagrams, up to the writing,
// and returns what it would write.
func (p *path) receive(batch []underlay.Datagram) []encap.Coalesced {
	source := socketSource{port: p.port, from: p.from, datagrams: batch}
	source.takeApart()
	p.port.dirty, p.dirty = p.port.dirty[:0], false
	return p.joined.Frames()
}

// outFrame is a frame as it is read from a device.
type outFrame struct {
	encap.Packet
	datagram []byte
}

// frame builds an Ethernet frame with gopacket.
func frame(ipv6 bool, transport gopacket.SerializableLayer, payload []byte) []byte {
	eth := &layers.Ethernet{SrcMAC: macA, DstMAC: macB, EthernetType: layers.EthernetTypeIPv4}
	proto := layers.IPProtocolTCP
	if transport.LayerType() == layers.LayerTypeUDP {
		proto = layers.IPProtocolUDP
	}
	ip4 := &layers.IPv4{Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: proto, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
	ip6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::2")}
	ip, network := gopacket.SerializableLayer(ip4), gopacket.NetworkLayer(ip4)
	if ipv6 {
		eth.EthernetType, ip, network = layers.EthernetTypeIPv6, ip6, ip6
	}
	summed := transport.(interface {
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	})
	if err := summed.SetNetworkLayerForChecksum(network); err != nil {
		panic(err)
	}
	b := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(b, options, eth, ip, transport, gopacket.Payload(payload)); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// tcp is the header of a segment with timestamps, at bytes into its stream.
func tcp(at int) gopacket.SerializableLayer {
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop}
	stamps := layers.TCPOption{OptionType: layers.TCPOptionKindTimestamps, OptionData: make([]byte, 8)}
	return &layers.TCP{
		SrcPort: 40000, DstPort: 443, Seq: uint32(at), Ack: 1, ACK: true, Window: 501,
		Options: []layers.TCPOption{nop, nop, stamps},
	}
}

func udp(flow int) gopacket.SerializableLayer {
	return &layers.UDP{SrcPort: layers.UDPPort(40000 + flow), DstPort: 5001}
}

func appendDatagram(data, frame []byte) []byte {
	header := make([]byte, encap.HeaderLen)
	encap.PutHeader(header, 5)
	return append(append(data, header...), frame...)
}

// superFrame is a TCP super-frame. Its checksum is not the sum of the
// pseudo-header, which makes those of its segments wrong and nothing slower.
func superFrame(ipv6 bool) outFrame {
	d := appendDatagram(nil, frame(ipv6, tcp(0), make([]byte, segments*mss)))
	gso := encap.GSO{Type: encap.GSOTCP4, Size: mss, NeedsCsum: true, CsumStart: 34, CsumOffset: 16}
	if ipv6 {
		gso.Type, gso.CsumStart = encap.GSOTCP6, 54
	}
	return outFrame{encap.Packet{Frame: d[encap.HeaderLen:], GSO: gso}, d}
}

// segmentRun is what a peer makes of such a super-frame, as one receive call
// returns it.
func segmentRun(ipv6 bool) underlay.Datagram {
	d := underlay.Datagram{From: vtep}
	for i := range segments {
		d.Data = appendDatagram(d.Data, frame(ipv6, tcp(i*mss), bytes.Repeat([]byte{byte(i)}, mss)))
	}
	d.Segment = len(d.Data) / segments
	return d
}

// smallFrames are UDP datagrams of some flows in turn, one behind the other in
// memory, as a batch read from a device is.
func smallFrames(flows int) (batch []outFrame) {
	var buffer []byte
	for i := range smalls {
		buffer = appendDatagram(buffer, frame(false, udp(i%flows), make([]byte, smallSize)))
	}
	size := len(buffer) / smalls
	for i := range smalls {
		d := buffer[i*size : (i+1)*size]
		gso := encap.GSO{NeedsCsum: true, CsumStart: 34, CsumOffset: 6}
		batch = append(batch, outFrame{encap.Packet{Frame: d[encap.HeaderLen:], GSO: gso}, d})
	}
	return batch
}

// smallDatagrams are the same as they come in: those of one flow in a run,
// those of several one by one.
func smallDatagrams(flows int) (batch []underlay.Datagram) {
	for _, f := range smallFrames(flows) {
		batch = append(batch, underlay.Datagram{Data: f.datagram, From: vtep})
	}
	if flows > 1 {
		return batch
	}
	run := underlay.Datagram{From: vtep, Segment: len(batch[0].Data)}
	for _, d := range batch {
		run.Data = append(run.Data, d.Data...)
	}
	return []underlay.Datagram{run}
}

// rewound returns a function that puts back what joining writes to: the
// headers of the first datagrams.
func rewound(batch []underlay.Datagram, first int) func() {
	const headers = 128
	batch = batch[:min(first, len(batch))]
	var saved [][]byte
	for _, d := range batch {
		saved = append(saved, slices.Clone(d.Data[:min(headers, len(d.Data))]))
	}
	return func() {
		for i, d := range batch {
			copy(d.Data, saved[i])
		}
	}
}

// TestPath: frames go where the benchmarks take them to, without allocation.
func TestPath(t *testing.T) {
	p := newPath(t)
	want := 0
	for name, batch := range map[string][]outFrame{
		"IPv4": {superFrame(false)}, "IPv6": {superFrame(true)}, "1 flow": smallFrames(1), "16 flows": smallFrames(16),
	} {
		p.send(batch)
		if want += len(batch); int(p.counters.txPackets.Load()) != want {
			t.Errorf("%s: %d frames sent in all, want %d", name, p.counters.txPackets.Load(), want)
		}
		wantNoAllocs(t, name+", out", func() { p.send(batch) })
		want = int(p.counters.txPackets.Load())
	}
	for name, c := range map[string]struct {
		batch  []underlay.Datagram
		frames int // for the device
	}{
		"IPv4": {[]underlay.Datagram{segmentRun(false)}, 1}, "IPv6": {[]underlay.Datagram{segmentRun(true)}, 1},
		"1 flow": {smallDatagrams(1), 1}, "16 flows": {smallDatagrams(16), 16},
	} {
		rewind := rewound(c.batch, c.frames)
		if made := p.receive(c.batch); len(made) != c.frames {
			t.Errorf("%s: %d frames for the device, want %d", name, len(made), c.frames)
		}
		p.joined.Reset()
		wantNoAllocs(t, name+", in", func() {
			rewind()
			p.receive(c.batch)
			p.joined.Reset()
		})
	}
}

// TestPathOfMany: frames to and from as many stations as make a large table are
// sent and taken without allocation, and none is learnt anew.
func TestPathOfMany(t *testing.T) {
	p := newPath(t)
	next := crowd(p, 100_000)
	out, in := smallFrames(16), smallDatagrams(16)
	rewind := rewound(in, smalls)
	want := int(p.counters.txPackets.Load())
	wantNoAllocs(t, "out", func() {
		next.to(out)
		p.send(out)
		want += smalls
	})
	if got := int(p.counters.txPackets.Load()); got != want {
		t.Errorf("%d frames sent, want %d", got, want)
	}
	entries := p.fdb.Len()
	wantNoAllocs(t, "in", func() {
		rewind()
		next.from(in)
		p.receive(in)
		p.joined.Reset()
	})
	if got := p.fdb.Len(); got != entries {
		t.Errorf("%d stations known, want %d", got, entries)
	}
}

// crowdOf names the stations of a link in no order, one after the other.
type crowdOf func() routetable.MAC

// crowd has a link know n stations behind the VTEP.
func crowd(p *path, n int) crowdOf {
	mac := func(i int) routetable.MAC { return routetable.MAC{2, 0xcc, 0, byte(i >> 16), byte(i >> 8), byte(i)} }
	for i := range n {
		p.fdb.Learn(mac(i), vtep, 0, p.port.tick)
	}
	order, at := rand.New(rand.NewPCG(1, 2)).Perm(n), 0
	return func() routetable.MAC {
		at = (at + 1) % n
		return mac(order[at])
	}
}

// to has each frame of a batch go to another station.
func (next crowdOf) to(batch []outFrame) {
	for i := range batch {
		mac := next()
		copy(batch[i].Frame, mac[:])
	}
}

// from has each datagram of a batch come from another station.
func (next crowdOf) from(batch []underlay.Datagram) {
	for i := range batch {
		mac := next()
		copy(batch[i].Data[encap.HeaderLen+6:], mac[:])
	}
}

func wantNoAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(20, f); n != 0 {
		t.Errorf("%s: %v allocations a batch", what, n)
	}
}

// families runs a benchmark with IPv4 and IPv6 inside.
func families(b *testing.B, run func(b *testing.B, ipv6 bool)) {
	b.Run("IPv4", func(b *testing.B) { run(b, false) })
	b.Run("IPv6", func(b *testing.B) { run(b, true) })
}

// BenchmarkSuperFrameOut is what a TCP super-frame meets between the device and
// sendmmsg.
func BenchmarkSuperFrameOut(b *testing.B) {
	families(b, func(b *testing.B, ipv6 bool) {
		p, batch := newPath(b), []outFrame{superFrame(ipv6)}
		b.SetBytes(segments * mss)
		b.ReportAllocs()
		for b.Loop() {
			p.send(batch)
		}
	})
}

// BenchmarkSuperFrameIn is what its segments meet between recvmmsg and the
// device.
func BenchmarkSuperFrameIn(b *testing.B) {
	families(b, func(b *testing.B, ipv6 bool) {
		p, batch := newPath(b), []underlay.Datagram{segmentRun(ipv6)}
		rewind := rewound(batch, 1)
		b.SetBytes(segments * mss)
		b.ReportAllocs()
		for b.Loop() {
			rewind()
			p.receive(batch)
			p.joined.Reset()
		}
	})
}

// flows runs a benchmark whose operation is one datagram.
func flows(b *testing.B, run func(b *testing.B, flows int)) {
	b.Run("1flow", func(b *testing.B) { run(b, 1) })
	b.Run("16flows", func(b *testing.B) { run(b, 16) })
}

// BenchmarkSmallFramesOut is what each UDP datagram of 64 bytes meets.
func BenchmarkSmallFramesOut(b *testing.B) {
	flows(b, func(b *testing.B, flows int) {
		p, batch := newPath(b), smallFrames(flows)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if n%smalls == 0 {
				p.send(batch)
			}
		}
	})
}

// BenchmarkSmallFramesIn is the same on the way in.
func BenchmarkSmallFramesIn(b *testing.B) {
	flows(b, func(b *testing.B, flows int) {
		p, batch := newPath(b), smallDatagrams(flows)
		rewind := rewound(batch, flows)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if n%smalls == 0 {
				rewind()
				p.receive(batch)
				p.joined.Reset()
			}
		}
	})
}

// crowds runs a benchmark whose operation is one datagram, with that many stations.
func crowds(b *testing.B, run func(b *testing.B, stations int)) {
	b.Run("1000", func(b *testing.B) { run(b, 1000) })
	b.Run("1000000", func(b *testing.B) { run(b, 1_000_000) })
}

// BenchmarkCrowdOut is what each UDP datagram of 64 bytes meets that goes to
// another station than those before.
func BenchmarkCrowdOut(b *testing.B) {
	crowds(b, func(b *testing.B, stations int) {
		p, batch := newPath(b), smallFrames(16)
		next := crowd(p, stations)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if n%smalls == 0 {
				next.to(batch)
				p.send(batch)
			}
		}
	})
}

// BenchmarkCrowdIn is the same on the way in, and from another station.
func BenchmarkCrowdIn(b *testing.B) {
	crowds(b, func(b *testing.B, stations int) {
		p, batch := newPath(b), smallDatagrams(16)
		next, rewind := crowd(p, stations), rewound(batch, smalls)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if n%smalls == 0 {
				rewind()
				next.from(batch)
				p.receive(batch)
				p.joined.Reset()
			}
		}
	})
}
