package encap_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/encap"
)

// coalescer takes everything.
func coalescer() *encap.Coalescer { return &encap.Coalescer{TCP: true, UDP: true} }

// add gives copies of the frames to c as they would come from the wire.
func add(c *encap.Coalescer, frames ...[]byte) {
	for _, f := range frames {
		f = bytes.Clone(f)
		l := parse(f)
		c.Add(&encap.Packet{Frame: f, GSO: encap.DescribeReceived(f, l, 65535, 0)}, l)
	}
}

// whole is a super-frame in one piece.
func whole(f *encap.Coalesced) encap.Packet {
	return encap.Packet{Frame: bytes.Join(append([][]byte{f.Frame}, f.Tail...), nil), GSO: f.GSO}
}

// expand cuts what a Coalescer made, and completes what is left to be.
func expand(t *testing.T, made []encap.Coalesced) (frames [][]byte) {
	t.Helper()
	for i := range made {
		p := whole(&made[i])
		if p.GSO.Type != encap.GSONone {
			segments, err := encap.CutSuperFrame(&p, parse(p.Frame))
			if err != nil {
				t.Fatalf("super-frame %+v cannot be cut: %v", p.GSO, err)
			}
			frames = append(frames, cut(&segments)...)
			continue
		}
		finish(t, &p)
		frames = append(frames, p.Frame)
	}
	return frames
}

func finish(t *testing.T, p *encap.Packet) {
	t.Helper()
	if !p.GSO.NeedsCsum {
		return
	}
	if err := encap.FinishChecksum(p, parse(p.Frame)); err != nil {
		t.Fatalf("checksum cannot be completed: %v", err)
	}
}

// TestCoalesceIsTheInverse cuts super-frames and wants them back, every byte
// and every figure of the description.
func TestCoalesceIsTheInverse(t *testing.T) {
	for name, s := range kinds() {
		for _, df := range []bool{true, false} {
			for _, flags := range []uint8{ack, ack | psh} {
				for _, c := range [][2]int{{200, 100}, {201, 100}, {299, 100}, {2, 1}, {65000, 1448}, {64000, 1000}} {
					s.df, s.flags = df, flags
					checkInverse(t, name, s, text(c[0]), c[1])
				}
			}
		}
	}
}

func checkInverse(t *testing.T, name string, s stream, payload []byte, size int) {
	t.Helper()
	want := s.super(payload, size)
	c := coalescer()
	frames := s.segments(payload, size)
	add(c, frames...)
	made := c.Frames()
	if len(made) != 1 {
		t.Fatalf("%s, %d bytes at %d: %d frames of %d were joined to %d", name, len(payload), size, len(frames), len(frames), len(made))
	}
	got := whole(&made[0])
	wantFrames(t, [][]byte{got.Frame}, [][]byte{want.Frame})
	if got.GSO != want.GSO {
		t.Fatalf("%s, %d bytes at %d: %+v, want %+v", name, len(payload), size, got.GSO, want.GSO)
	}
	bytes := len(payload) + len(frames)*s.headers()
	if n, b := made[0].Arrived(); n != len(frames) || b != bytes {
		t.Fatalf("%s: arrived were %d frames of %d bytes, want %d of %d", name, n, b, len(frames), bytes)
	}
}

// TestExtend: the segments of one flow are joined without a look at their
// layout; a frame that follows anything else is not.
func TestExtend(t *testing.T) {
	for name, s := range kinds() {
		frames := s.segments(text(450), 100)
		c := coalescer()
		if c.Extend(frames[0]) {
			t.Errorf("%s: joined to nothing", name)
		}
		add(c, frames[0])
		for i, f := range frames[1:] {
			if !c.Extend(bytes.Clone(f)) {
				t.Errorf("%s: segment %d is not joined", name, i+1)
			}
		}
		wantFrames(t, expand(t, c.Frames()), frames)
		c.Reset()
		if c.Extend(frames[1]) {
			t.Errorf("%s: joined after Reset", name)
		}
		other := s
		other.src = netip.AddrPortFrom(s.src.Addr(), 1)
		add(c, frames[0], other.frame(text(100)), frames[1])
		if wantCounts(t, name, c, 2, 1); c.Extend(new(second(other)).frame(text(100))) {
			t.Errorf("%s: joined to another frame than the one before", name)
		}
		c.Reset()
		for what, between := range map[string][]byte{"another flow": other.frame(text(100)), "ARP": arp(), "a fragment": fragment(&s, 100, true)} {
			add(c, frames[0], between)
			if c.Extend(frames[1]) {
				t.Errorf("%s: joined although %s came between", name, what)
			}
			c.Reset()
		}
	}
}

// What lies behind an IP packet is no payload: such a segment is not joined unseen.
func TestExtendPadded(t *testing.T) {
	for name, s := range kinds() {
		frames := s.segments(text(300), 100)
		c := coalescer()
		add(c, frames[0])
		if c.Extend(encap.AppendGreeting(bytes.Clone(frames[1]))) {
			t.Errorf("%s: joined with something behind it", name)
		}
	}
}

// TestCoalescePackets joins packets without an Ethernet header.
func TestCoalescePackets(t *testing.T) {
	for name, s := range map[string]stream{"TCP4": tcp4(), "TCP6": tcp6(), "UDP4": udp4(), "UDP6": udp6()} {
		c := coalescer()
		var want [][]byte
		for i, f := range s.segments(text(400), 100) {
			want = append(want, f[14:])
			p := encap.Packet{Frame: bytes.Clone(f[14:])}
			if l := encap.ParsePacket(p.Frame); i%2 == 0 || !c.Extend(p.Frame) {
				c.Add(&p, &l)
			}
		}
		made := c.Frames()
		if len(made) != 1 {
			t.Fatalf("%s: joined to %d packets", name, len(made))
		}
		p := whole(&made[0])
		l := encap.ParsePacket(p.Frame)
		segments, err := encap.CutSuperFrame(&p, &l)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantFrames(t, cut(&segments), want)
	}
}

// joinedAs says how many frames each of the outputs stands for.
func joinedAs(c *encap.Coalescer) (counts []int) {
	made := c.Frames()
	for i := range made {
		n, _ := made[i].Arrived()
		counts = append(counts, n)
	}
	return counts
}

func wantCounts(t *testing.T, name string, c *encap.Coalescer, want ...int) {
	t.Helper()
	got := joinedAs(c)
	same := len(got) == len(want)
	for i := range want {
		same = same && got[i] == want[i]
	}
	if !same {
		t.Errorf("%s: frames were joined as %v, want %v", name, got, want)
	}
}

// TestCoalesceCloses checks what ends a super-frame.
func TestCoalesceCloses(t *testing.T) {
	for name, s := range kinds() {
		six := s.segments(text(600), 100)
		short := s
		short.seq, short.id = s.seq+200, s.id+2
		after := short
		after.seq, after.id = short.seq+60, short.id+1
		last := after
		last.seq, last.id = after.seq+60, after.id+1
		c := coalescer()
		add(c, six[0], six[1], short.frame(text(60)), after.frame(text(60)), last.frame(text(60)))
		wantCounts(t, name+", shorter last", c, 3, 2)
		if s.udp {
			continue
		}
		pushed := second(second(s))
		pushed.flags |= psh
		c = coalescer()
		add(c, six[0], six[1], pushed.frame(text(100)), six[3], six[4], six[5])
		wantCounts(t, name+", PSH", c, 3, 3)
		first := s
		first.flags |= psh
		c = coalescer()
		add(c, first.frame(text(100)), six[1], six[2])
		wantCounts(t, name+", PSH at once", c, 1, 2)
	}
}

// TestCoalesceSeals: a frame that cannot be joined keeps its place, so nothing
// of its flow may be joined to what was before it.
func TestCoalesceSeals(t *testing.T) {
	for name, s := range kinds() {
		frames := s.segments(text(400), 100)
		empty := second(second(s))
		between := map[string][]byte{
			"empty":     empty.frame(nil),
			"corrupt":   corrupted(new(second(s)).frame(text(100))),
			"padded":    append(bytes.Clone(frames[2]), 0),
			"fragment":  fragment(&s, 100, true),
			"truncated": frames[2][:s.l4()+4],
		}
		for what, odd := range between {
			c := coalescer()
			add(c, frames[0], frames[1], odd, frames[2], frames[3])
			wantCounts(t, name+", "+what, c, 2, 1, 2)
			made := c.Frames()
			wantFrames(t, [][]byte{made[1].Frame}, [][]byte{odd})
		}
		c := coalescer()
		add(c, frames[0], arp(), frames[1], spanningTree(), frames[2])
		wantCounts(t, name+", not IP", c, 3, 1, 1)
	}
}

// Super-frames that a sender on the same machine left whole keep their place too.
func TestCoalesceLeavesSuperFramesAlone(t *testing.T) {
	for name, s := range kinds() {
		frames := s.segments(text(400), 100)
		super := s.super(text(3000), 1000)
		c := coalescer()
		add(c, frames[0], frames[1])
		c.Add(&super, parse(super.Frame))
		add(c, frames[2], frames[3])
		wantCounts(t, name, c, 2, 1, 2)
		if got := c.Frames()[1]; got.GSO != super.GSO || len(got.Tail) != 0 {
			t.Errorf("%s: became %+v", name, got.GSO)
		}
	}
}

// TestCoalescePartial joins frames whose checksum a sender on the same machine
// left to be completed, among themselves and with complete ones.
func TestCoalescePartial(t *testing.T) {
	for name, s := range kinds() {
		payload, next := text(400), s
		var frames [][]byte
		for i := range 4 {
			part := payload[100*i : 100*i+100]
			if i%3 == 0 {
				frames = append(frames, next.frame(part))
			} else {
				frames = append(frames, next.partial(part))
			}
			next = second(next)
		}
		c := coalescer()
		add(c, frames...)
		wantCounts(t, name, c, 4)
		wantFrames(t, expand(t, c.Frames()), s.segments(payload, 100))

		c = coalescer()
		add(c, frames[1])
		alone := c.Frames()[0]
		if !alone.GSO.NeedsCsum || alone.GSO.Type != encap.GSONone {
			t.Errorf("%s, alone: %+v", name, alone.GSO)
		}
	}
}

// TestCoalesceLimits: one super-frame is no larger than its length fields and
// the kernel's limits, and what is over begins the next.
func TestCoalesceLimits(t *testing.T) {
	for name, s := range kinds() {
		c := coalescer()
		add(c, s.segments(text(100*700), 100)...)
		if s.udp {
			wantCounts(t, name, c, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 60)
		} else {
			wantCounts(t, name, c, 512, 188)
		}
		wantFrames(t, expand(t, c.Frames()), s.segments(text(100*700), 100))

		// 65535 bytes with the Ethernet header is what an IPv4 length and every buffer can take.
		c = coalescer()
		add(c, s.segments(text(100*1400), 1400)...)
		fit := (65535 - s.headers()) / 1400
		wantCounts(t, name+", large", c, fit, fit, 100-2*fit)
		for _, made := range c.Frames() {
			if n := len(whole(&made).Frame); n > 65535 {
				t.Errorf("%s: super-frame of %d bytes", name, n)
			}
		}
		wantFrames(t, expand(t, c.Frames()), s.segments(text(100*1400), 1400))
	}
}

// TestCoalesceOnlyWhatIsTaken joins nothing that the device does not take.
func TestCoalesceOnlyWhatIsTaken(t *testing.T) {
	for name, s := range kinds() {
		for _, c := range []*encap.Coalescer{{}, {TCP: true}, {UDP: true}} {
			frames := s.segments(text(300), 100)
			add(c, frames...)
			if s.udp && c.UDP || !s.udp && c.TCP {
				wantCounts(t, name, c, 3)
			} else {
				wantCounts(t, name+" not taken", c, 1, 1, 1)
				wantFrames(t, expand(t, c.Frames()), frames)
			}
		}
	}
}

// TestCoalesceReset: frames of one batch are never joined to those of another,
// and nothing of the first shows in the second.
func TestCoalesceReset(t *testing.T) {
	for name, s := range kinds() {
		frames := s.segments(text(400), 100)
		c := coalescer()
		add(c, frames[0], frames[1])
		wantCounts(t, name, c, 2)
		c.Reset()
		if n := len(c.Frames()); n != 0 {
			t.Fatalf("%s: %d frames after Reset", name, n)
		}
		add(c, frames[2], frames[3], arp())
		wantCounts(t, name+" after Reset", c, 2, 1)
		wantFrames(t, expand(t, c.Frames()), [][]byte{frames[2], frames[3], arp()})
	}
}

// Asking for the frames changes nothing: more may be added afterwards.
func TestCoalesceGoesOnAfterFrames(t *testing.T) {
	for name, s := range kinds() {
		frames := s.segments(text(500), 100)
		c := coalescer()
		for i, f := range frames {
			add(c, f)
			wantCounts(t, name, c, i+1)
		}
		wantFrames(t, expand(t, c.Frames()), frames)
	}
}

// What a single frame arrived as is what it is.
func TestArrivedAlone(t *testing.T) {
	for name, s := range kinds() {
		for _, frame := range [][]byte{s.frame(text(40)), append(s.frame(text(1)), 0, 0, 0), arp()} {
			c := coalescer()
			add(c, frame)
			if n, b := c.Frames()[0].Arrived(); n != 1 || b != len(frame) {
				t.Errorf("%s: %d frames of %d bytes, want 1 of %d", name, n, b, len(frame))
			}
		}
	}
}

// Streams that share a slot of the table take turns in it, and lose only the joining.
func TestCoalesceManyStreams(t *testing.T) {
	var frames [][]byte
	want := map[uint16][][]byte{}
	for i := range 300 {
		s := tcp4()
		s.src = netip.AddrPortFrom(s.src.Addr(), uint16(i))
		want[uint16(i)] = s.segments(text(300), 100)
	}
	for part := range 3 {
		for i := range 300 {
			frames = append(frames, want[uint16(i)][part])
		}
	}
	c := coalescer()
	add(c, frames...)
	got := map[uint16][][]byte{}
	for _, f := range expand(t, c.Frames()) {
		port := binary.BigEndian.Uint16(f[34:])
		got[port] = append(got[port], f)
	}
	for port := range want {
		wantFrames(t, got[port], want[port])
	}
}
