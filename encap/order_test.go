package encap_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/weftnet/weft/encap"
)

// mixer makes a batch of frames of several flows as its bytes say: mostly the
// next segment of one, sometimes one that something is special about. Two
// bytes make a frame.
type mixer struct {
	streams [8]stream
	data    []byte
}

func newMixer(data []byte) *mixer {
	m := &mixer{streams: [8]stream{tcp4(), tcp6(), udp4(), udp6(), tcp4(), tcp4(), udp4(), reversed(tcp4())}, data: data}
	m.streams[4].tags = []uint16{7}
	m.streams[5].src = netip.MustParseAddrPort("10.0.0.1:40001")
	m.streams[6].df = false
	m.streams[7].options = timestamps(3, 4)
	return m
}

// special are the things that can be unusual about a frame: they edit the
// stream for good or return a frame of their own.
var special = []func(m *mixer, s *stream, arg byte) []byte{
	func(_ *mixer, s *stream, arg byte) []byte { return s.frame(text(int(arg) * 6)) },
	func(_ *mixer, s *stream, _ byte) []byte {
		return with(*s, func(c *stream) { c.flags |= psh }).frame(text(100))
	},
	func(_ *mixer, s *stream, arg byte) []byte {
		return with(*s, func(c *stream) { c.flags ^= arg }).frame(text(100))
	},
	func(_ *mixer, s *stream, _ byte) []byte { return s.frame(nil) },
	func(_ *mixer, s *stream, _ byte) []byte { return corrupted(s.frame(text(100))) },
	func(_ *mixer, s *stream, _ byte) []byte { return s.partial(text(100)) },
	func(_ *mixer, s *stream, arg byte) []byte { return s.partial(text(2000 + int(arg))) },
	func(_ *mixer, s *stream, arg byte) []byte {
		return append(s.frame(text(100)), make([]byte, 1+arg%7)...)
	},
	func(_ *mixer, s *stream, arg byte) []byte { return s.frame(text(100))[:14+arg%80] },
	func(_ *mixer, s *stream, arg byte) []byte { return fragment(s, uint16(arg), arg%2 == 0) },
	func(*mixer, *stream, byte) []byte { return arp() },
	func(m *mixer, _ *stream, arg byte) []byte { return m.take(int(arg)) },
	func(_ *mixer, s *stream, arg byte) []byte { s.ttl = 60 + arg%4; return nil },
	func(_ *mixer, s *stream, arg byte) []byte { s.tos = arg; return nil },
	func(_ *mixer, s *stream, arg byte) []byte { s.id += uint16(arg % 3); return nil },
	func(_ *mixer, s *stream, _ byte) []byte { s.df = !s.df; return nil },
	func(_ *mixer, s *stream, arg byte) []byte { s.ack += uint32(arg); return nil },
	func(_ *mixer, s *stream, arg byte) []byte { s.window += uint16(arg % 2); return nil },
	func(_ *mixer, s *stream, arg byte) []byte { s.options = timestamps(uint32(arg), 1); return nil },
	func(_ *mixer, s *stream, _ byte) []byte { s.seq -= 100; return nil },
	func(_ *mixer, s *stream, arg byte) []byte { s.label = uint32(arg % 3); return nil },
	func(_ *mixer, s *stream, _ byte) []byte { s.noChecksum = !s.noChecksum; return nil },
	func(_ *mixer, s *stream, _ byte) []byte {
		frame := s.frame(text(100))
		frame[s.l3()+10] ^= 1
		return frame
	},
}

func with(s stream, edit func(*stream)) *stream {
	edit(&s)
	return &s
}

// take is the next n bytes themselves, as a frame.
func (m *mixer) take(n int) []byte {
	n = min(n, len(m.data))
	taken := m.data[:n]
	m.data = m.data[n:]
	return bytes.Clone(taken)
}

// frames makes them all.
func (m *mixer) frames() (all [][]byte) {
	for len(m.data) >= 2 && len(all) < 256 {
		op, arg := m.data[0], m.data[1]
		m.data = m.data[2:]
		s := &m.streams[op%8]
		var frame []byte
		if op >= 0xa0 {
			frame = special[int(arg)%len(special)](m, s, op*31+arg)
		}
		if frame == nil {
			frame = s.frame(text(100))
		}
		all = append(all, frame)
		if l := parse(frame); l.L4 != 0 && op < 0xa0 {
			s.seq += uint32(l.End - l.Payload)
			s.id++
		}
	}
	return all
}

// flowKey tells flows apart by addresses, protocol and ports. IP packets whose
// flow cannot be seen may belong to any.
func flowKey(frame []byte) (key string, unknown bool) {
	l := parse(frame)
	switch {
	case l.Version == 0:
		return "not IP", false
	case l.L4 == 0:
		return "", true
	}
	addresses := frame[l.L3+12 : l.L3+20]
	if l.Version == 6 {
		addresses = frame[l.L3+8 : l.L3+40]
	}
	return string(slices.Concat(addresses, []byte{l.Proto}, frame[l.L4:l.L4+4])), false
}

// normal clears the identification of IPv4 packets that must not be
// fragmented: it means nothing, and is not kept.
func normal(frame []byte) []byte {
	l := parse(frame)
	if l.Version != 4 || l.L4 == 0 || frame[l.L3+6]&0x40 == 0 {
		return frame
	}
	ip := frame[l.L3:l.L4]
	if naiveSum(ip, 0) != 0xffff {
		return frame // a header that is wrong stays as it is
	}
	copy(ip[4:6], "\x00\x00")
	copy(ip[10:12], "\x00\x00")
	binary.BigEndian.PutUint16(ip[10:], ^naiveSum(ip, 0))
	return frame
}

// flowsOf sorts frames by flow, each with all those between that may belong to any.
func flowsOf(frames [][]byte) map[string][][]byte {
	flows := map[string][][]byte{"": nil}
	for _, f := range frames {
		if key, unknown := flowKey(f); !unknown {
			flows[key] = nil
		}
	}
	for _, f := range frames {
		key, unknown := flowKey(f)
		for flow := range flows {
			if unknown || flow == key {
				flows[flow] = append(flows[flow], f)
			}
		}
	}
	return flows
}

// checkCoalesced adds frames to c as they would be after a receive, and wants
// exactly them back, flow by flow, when what c made is cut again.
func checkCoalesced(t *testing.T, c *encap.Coalescer, frames [][]byte) (made int) {
	t.Helper()
	other := coalescer()
	var want [][]byte
	for _, frame := range frames {
		l := parse(frame)
		p := encap.Packet{Frame: frame, GSO: encap.DescribeReceived(frame, l, 1450, 700)}
		if again := (encap.Packet{Frame: bytes.Clone(frame), GSO: p.GSO}); !other.Extend(again.Frame) {
			other.Add(&again, l)
		}
		want = append(want, expand(t, []encap.Coalesced{{Packet: encap.Packet{Frame: bytes.Clone(frame), GSO: p.GSO}}})...)
		c.Add(&p, l)
	}
	made = len(c.Frames())
	wantSame(t, other.Frames(), c.Frames())
	got := expand(t, c.Frames())
	for i := range got {
		got[i] = normal(got[i])
	}
	for i := range want {
		want[i] = normal(want[i])
	}
	if len(got) != len(want) {
		t.Fatalf("%d frames went in and %d came out", len(want), len(got))
	}
	wantFlows, gotFlows := flowsOf(want), flowsOf(got)
	for flow := range wantFlows {
		wantFrames(t, gotFlows[flow], wantFlows[flow])
	}
	return made
}

// wantSame compares what was made by way of Extend with what was made without.
func wantSame(t *testing.T, got, want []encap.Coalesced) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("with Extend there are %d frames, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := &got[i], &want[i]
		if !bytes.Equal(g.Frame, w.Frame) || g.GSO != w.GSO || !slices.EqualFunc(g.Tail, w.Tail, bytes.Equal) {
			t.Fatalf("frame %d with Extend differs:\ngot  %x, %d more, %+v\nwant %x, %d more, %+v", i, g.Frame, len(g.Tail), g.GSO, w.Frame, len(w.Tail), w.GSO)
		}
	}
}

// TestCoalesceKeepsOrder mixes flows at random. One Coalescer serves all
// batches, as a link's does.
func TestCoalesceKeepsOrder(t *testing.T) {
	c := coalescer()
	added, made := 0, 0
	seeds := uint64(500)
	if underRace {
		seeds = 100
	}
	for seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 2*random.IntN(200))
		for i := range data {
			data[i] = byte(random.Uint32())
			if i%2 == 0 && seed%3 == 0 && random.IntN(8) > 0 {
				data[i] %= 0xa0 // hardly anything special
			}
		}
		frames := newMixer(data).frames()
		made += checkCoalesced(t, c, frames)
		added += len(frames)
		c.Reset()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	// A Coalescer that joins nothing keeps order too.
	if made*10 > added*8 {
		t.Errorf("%d frames were joined to %d: hardly any", added, made)
	}
}
