package interop

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
)

// outerPacket is a whole datagram as it enters the wire, for a test to spoil.
type outerPacket struct {
	ip      []byte // of frame
	udp     []byte
	payload []byte
	frame   []byte
}

// outerOf is the datagram with a payload from the peer to the VTEP, all right.
func (a *alone) outerOf(t *testing.T, payload []byte) outerPacket {
	t.Helper()
	from, err := a.peer.Device("eth0")
	check(t, err)
	to, err := a.Device("eth0")
	check(t, err)
	udp := &layers.UDP{SrcPort: 40000, DstPort: layers.UDPPort(a.port)}
	eth := &layers.Ethernet{SrcMAC: from.MAC, DstMAC: to.MAC, EthernetType: layers.EthernetTypeIPv4}
	parts := []gopacket.SerializableLayer{eth, nil, udp, gopacket.Payload(payload)}
	src, dst, length := a.b.AsSlice(), a.a.AsSlice(), 20
	if a.a.Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src, DstIP: dst}
		check(t, udp.SetNetworkLayerForChecksum(ip))
		parts[1] = ip
	} else {
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src, DstIP: dst}
		check(t, udp.SetNetworkLayerForChecksum(ip))
		eth.EthernetType, parts[1], length = layers.EthernetTypeIPv6, ip, 40
	}
	buf := gopacket.NewSerializeBuffer()
	check(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
	f := slices.Clone(buf.Bytes())
	return outerPacket{ip: f[14 : 14+length], udp: f[14+length : 22+length], payload: f[22+length:], frame: f}
}

// sum completes both checksums anew.
func (p *outerPacket) sum() {
	binary.BigEndian.PutUint16(p.udp[6:], 0)
	addresses := p.ip[len(p.ip)-8:]
	if len(p.ip) == 20 {
		binary.BigEndian.PutUint16(p.ip[10:], 0)
		binary.BigEndian.PutUint16(p.ip[10:], ^lab.OnesSum(p.ip))
	} else {
		addresses = p.ip[8:]
	}
	length := binary.BigEndian.Uint16(p.udp[4:])
	pseudo := append(slices.Clone(addresses), 0, 17, byte(length>>8), byte(length))
	rest := p.frame[14+len(p.ip):]
	rest = rest[:min(len(rest), int(length))]
	binary.BigEndian.PutUint16(p.udp[6:], ^lab.OnesSum(append(pseudo, rest...)))
}

// forgery is what is wrong with a datagram of a station that is busy.
type forgery struct {
	name  string
	spoil func(p *outerPacket) // sums have to be completed by itself
	only  int                  // length of the outer IP header that it takes; 0 = both

	// What comes of it is another thing: nobody adds the outer datagram up. The
	// checksums inside are looked at by whom they are for.
	unseen bool
}

func put16(b []byte, at int, by int) {
	binary.BigEndian.PutUint16(b[at:], uint16(int(binary.BigEndian.Uint16(b[at:]))+by))
}

var forgeries = []forgery{
	{name: "plain", spoil: func(*outerPacket) {}},
	{name: "reserved bit before the VNI", spoil: func(p *outerPacket) { p.payload[1] = 1; p.sum() }},
	{name: "reserved bit behind the VNI", spoil: func(p *outerPacket) { p.payload[7] = 1; p.sum() }},
	{name: "no VNI flag", spoil: func(p *outerPacket) { p.payload[0] = 0; p.sum() }},
	{name: "another VNI", spoil: func(p *outerPacket) { p.payload[6] = 9; p.sum() }},
	{name: "wrong UDP checksum", unseen: true, spoil: func(p *outerPacket) { put16(p.udp, 6, 1) }},
	{name: "no UDP checksum", spoil: func(p *outerPacket) { clear(p.udp[6:8]) }},
	{name: "UDP length too small", spoil: func(p *outerPacket) { put16(p.udp, 4, -4); p.sum() }},
	{name: "UDP length too large", spoil: func(p *outerPacket) { put16(p.udp, 4, 4); p.sum() }},
	{name: "IP length too small", only: 20, spoil: func(p *outerPacket) { put16(p.ip, 2, -4); p.sum() }},
	{name: "IP length too large", only: 20, spoil: func(p *outerPacket) { put16(p.ip, 2, 4); p.sum() }},
	{name: "IP length too small", only: 40, spoil: func(p *outerPacket) { put16(p.ip, 4, -4); p.sum() }},
	{name: "wrong IP checksum", only: 20, spoil: func(p *outerPacket) { put16(p.ip, 10, 1) }},
	{name: "first fragment", only: 20, spoil: func(p *outerPacket) { p.ip[6] = 0x20; p.sum() }},
	{name: "last fragment", only: 20, spoil: func(p *outerPacket) { p.ip[7] = 100; p.sum() }},
	{name: "for another machine", spoil: func(p *outerPacket) { p.frame[5] ^= 1 }},
	{name: "ECT(1)", only: 20, spoil: func(p *outerPacket) { p.ip[1] = 1; p.sum() }},
	{name: "CE", only: 20, spoil: func(p *outerPacket) { p.ip[1] = 3; p.sum() }},
	{name: "CE", only: 40, spoil: func(p *outerPacket) { p.ip[1] = 0x30; p.sum() }},
	{name: "ECT(0)", only: 20, spoil: func(p *outerPacket) { p.ip[1] = 2; p.sum() }},
	{name: "inner type unknown", spoil: func(p *outerPacket) { p.payload[8+12] = 0x77; p.sum() }},
	{name: "inner version 5", spoil: func(p *outerPacket) { p.payload[8+14] = 0x55; p.sum() }},
	{name: "inner IP header of 4 words", spoil: func(p *outerPacket) { p.payload[8+14] = 0x44; p.sum() }},
	{name: "inner IP header longer than all", spoil: func(p *outerPacket) { p.payload[8+14] = 0x4f; p.sum() }},
	{name: "inner IP checksum wrong", spoil: func(p *outerPacket) { put16(p.payload, 8+14+10, 1); p.sum() }},
	{name: "inner IP length too small", spoil: func(p *outerPacket) { put16(p.payload, 8+14+2, -4); p.sum() }},
	{name: "inner IP length too large", spoil: func(p *outerPacket) { put16(p.payload, 8+14+2, 4); p.sum() }},
	{name: "inner fragment", spoil: func(p *outerPacket) { p.payload[8+14+6] = 0x20; p.sum() }},
	{name: "inner UDP checksum wrong", spoil: func(p *outerPacket) { put16(p.payload, 8+14+20+6, 1); p.sum() }},
	{name: "inner UDP length wrong", spoil: func(p *outerPacket) { put16(p.payload, 8+14+20+4, 9); p.sum() }},
	{name: "inner TCP without a header", spoil: func(p *outerPacket) { p.payload[8+14+9] = 6; p.sum() }},
	{name: "inner source is a group", spoil: func(p *outerPacket) { p.payload[8+6] |= 1; p.sum() }},
	{name: "inner destination is everybody", spoil: func(p *outerPacket) { copy(p.payload[8:], "\xff\xff\xff\xff\xff\xff"); p.sum() }},
}

// outcome is what came of a forged datagram.
type outcome struct {
	delivered string // the frame that came out; "" if none did
	counted   uint64 // as received
	dropped   map[string]uint64
}

// TestShortcutForged sends spoilt datagrams in the name of a station that is so
// busy that the kernel carries its frames by itself. What comes of each is the
// same as where weft carries all, by the same names.
func TestShortcutForged(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			with := newAlone(t, user, u, nil)
			without := newAlone(t, user, u, func(_ *lab.Host, s *spec) { byProcess(nil)(s, &spec{}) })
			for i, f := range forgeries {
				t.Run(f.name, func(t *testing.T) {
					packet := with.outerOf(t, vxlan(5, station(t, i, 100+i)))
					if f.only != 0 && f.only != len(packet.ip) {
						return
					}
					want, _ := without.forgeOne(t, f, i, without.figures(t))
					var got outcome
					check(t, lab.Eventually(waitLimit, func() (err error) {
						got, err = with.forgeOne(t, f, i, with.busy(t, i))
						return err
					}))
					if f.unseen {
						want.counted, want.delivered, want.dropped = want.counted+1, string(station(t, i, 100+i)), nil
					}
					if got.delivered != want.delivered || got.counted != want.counted || !maps.Equal(got.dropped, want.dropped) {
						t.Errorf("with shortcuts %x, counted %d, dropped %v\nwithout %x, counted %d, dropped %v",
							got.delivered, got.counted, got.dropped, want.delivered, want.counted, want.dropped)
					}
				})
			}
		})
	}
}

// station is a frame of the station with that mark.
func station(t *testing.T, mark, size int) []byte {
	return inner{srcPort: 1000, dstPort: 2000, size: size}.frame(t, mark)
}

// busy has the station send until the kernel carries its frames by itself, and
// returns the figures of that moment.
func (a *alone) busy(t *testing.T, mark int) (now figures) {
	t.Helper()
	const burst = 20
	frame := a.outerOf(t, vxlan(5, station(t, mark, 0))).frame
	check(t, lab.Eventually(waitLimit, func() error {
		before := a.settled(t)
		check(t, a.peer.SendFrame("eth0", slices.Repeat([][]byte{frame}, burst)...))
		now = a.figures(t)
		if n := now.weft.Offload.ShortcutRx - before.weft.Offload.ShortcutRx; n < burst {
			return fmt.Errorf("%d of %d frames were received past the process", n, burst)
		}
		return nil
	}))
	return now
}

// forgeOne sends one forged datagram between good ones of the same station, and
// one of another behind, which is the last to be dealt with. The error says that
// the first good ones did not go past the process.
func (a *alone) forgeOne(t *testing.T, f forgery, mark int, before figures) (outcome, error) {
	t.Helper()
	good := a.outerOf(t, vxlan(5, station(t, mark, 0))).frame
	packet := a.outerOf(t, vxlan(5, station(t, mark, 100+mark)))
	f.spoil(&packet)
	seen := len(a.inside.Frames())
	check(t, a.peer.SendFrame("eth0", good, good, packet.frame, good))
	now := a.settled(t)
	o := outcome{counted: now.rxPackets - before.rxPackets, dropped: map[string]uint64{}}
	for _, frame := range a.inside.Frames()[seen:] {
		if !frame.Outgoing && binary.BigEndian.Uint16(frame.Data[12:]) != typeLocal && len(frame.Data) > 14+28 {
			o.delivered += string(frame.Data)
		}
	}
	for reason, n := range now.weft.Drops {
		if n -= before.weft.Drops[reason]; n > 0 && reason != ofFence {
			o.dropped[reason] = n
		}
	}
	if n := now.weft.Offload.ShortcutRx - before.weft.Offload.ShortcutRx; n < 2 {
		return o, fmt.Errorf("%d frames went past the process", n)
	}
	return o, nil
}

// settled are the figures once everything that came counts. It is a fence
// without a new station: to learn one is a change, after which no flow is the
// kernel's. A frame comes out a moment before it counts; what is behind it, too
// short for a header, is dropped once it does.
func (a *alone) settled(t *testing.T) (now figures) {
	t.Helper()
	a.fences++
	frame := ether(0xf000, typeLocal, []byte{byte(a.fences >> 8), byte(a.fences)})
	a.forge(t, vxlan(5, frame), lab.DatagramOptions{})
	a.delivered(t, frame)
	before := a.figures(t).weft.Drops[ofFence]
	a.forge(t, []byte("end"), lab.DatagramOptions{})
	check(t, lab.Eventually(waitLimit, func() error {
		if now = a.figures(t); now.weft.Drops[ofFence] == before {
			return fmt.Errorf("the end of the fence does not count")
		}
		return nil
	}))
	return now
}

// ofFence is the reason for which the end of a fence is dropped.
const ofFence = "short_header"
