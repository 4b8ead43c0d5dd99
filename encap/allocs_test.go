package encap_test

import (
	"testing"

	"github.com/weftnet/weft/encap"
)

// TestHotFunctionsDoNotAllocate runs what every packet meets.
func TestHotFunctionsDoNotAllocate(t *testing.T) {
	for name, s := range kinds() {
		frame := s.frame(text(1000))
		layout := parse(frame)
		super := s.super(text(40000), 1000)
		superLayout := parse(super.Frame)
		partial := s.partial(text(1000))
		header := make([]byte, 256)
		answer := make([]byte, encap.TooBigLen)
		d := datagram(5, super.Frame)
		for what, f := range map[string]func(){
			"ParseFrame":       func() { encap.ParseFrame(frame) },
			"ParseHeader":      func() { _, _ = encap.ParseHeader(d) },
			"PutHeader":        func() { encap.PutHeader(header, 5) },
			"FlowHash":         func() { encap.FlowHash(frame, layout) },
			"Checksum":         func() { encap.Checksum(frame, 0) },
			"DecapECN":         func() { _ = encap.DecapECN(frame, layout, ce) },
			"DescribeReceived": func() { encap.DescribeReceived(super.Frame, superLayout, 1450, 1000) },
			"SplitDatagram":    func() { encap.SplitDatagram(d, 1000) },
			"PacketLen":        func() { encap.PacketLen(&super, superLayout) },
			"TooBig":           func() { encap.TooBig(answer, super.Frame, superLayout, 1450) },
			"FinishChecksum": func() {
				p := encap.Packet{Frame: partial, GSO: encap.GSO{NeedsCsum: true, CsumStart: uint16(s.l4()), CsumOffset: 6}}
				_ = encap.FinishChecksum(&p, layout)
			},
			"Segments": func() {
				segments, _ := encap.CutSuperFrame(&super, superLayout)
				for i := range segments.Count() {
					segments.Put(i, header)
				}
			},
		} {
			wantNoAllocs(t, name+", "+what, f)
		}
	}
}

// A Coalescer has all memory that it needs after the first batches.
func TestCoalescerDoesNotAllocate(t *testing.T) {
	for name, s := range kinds() {
		frames := s.segments(text(40*1000), 1000)
		frames = append(frames, arp(), s.frame(nil))
		layouts := make([]*encap.Layout, len(frames))
		for i := range frames {
			layouts[i] = parse(frames[i])
		}
		saved := append([]byte(nil), frames[0]...) // completed headers are written to the first frame
		c := coalescer()
		joined := 0
		wantNoAllocs(t, name, func() {
			copy(frames[0], saved)
			for i := range frames {
				c.Add(&encap.Packet{Frame: frames[i]}, layouts[i])
			}
			joined = len(c.Frames())
			c.Reset()
		})
		if joined != 3 {
			t.Errorf("%s: %d frames after joining, want 3", name, joined)
		}
	}
}

func wantNoAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(50, f); n != 0 {
		t.Errorf("%s: %v allocations a call", name, n)
	}
}
