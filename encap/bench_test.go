package encap_test

import (
	"fmt"
	"testing"

	"github.com/weftnet/weft/encap"
)

// What the benchmarks move: payload of full segments within a super-frame that
// fits one datagram.
const (
	benchSegment = 1398
	benchPayload = 44 * benchSegment
)

// perKind runs a benchmark for TCP and UDP over IPv4 and IPv6.
func perKind(b *testing.B, run func(b *testing.B, s stream)) {
	for _, k := range []struct {
		name string
		s    stream
	}{{"TCP4", tcp4()}, {"TCP6", tcp6()}, {"UDP4", udp4()}, {"UDP6", udp6()}} {
		b.Run(k.name, func(b *testing.B) {
			b.ReportAllocs()
			run(b, k.s)
		})
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, size := range []int{20, 64, 1500, 62000} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			data := text(size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				encap.Checksum(data, 0)
			}
		})
	}
}

func BenchmarkFinishChecksum(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		frame := s.partial(text(benchSegment))
		layout := parse(frame)
		b.SetBytes(int64(len(frame)))
		for b.Loop() {
			p := encap.Packet{Frame: frame, GSO: encap.GSO{NeedsCsum: true, CsumStart: uint16(s.l4()), CsumOffset: uint16(s.checksumOffset())}}
			if err := encap.FinishChecksum(&p, layout); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseFrame(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		frame := s.frame(text(64))
		for b.Loop() {
			encap.ParseFrame(frame)
		}
	})
}

func BenchmarkFlowHash(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		frame := s.frame(text(64))
		layout := parse(frame)
		for b.Loop() {
			encap.FlowHash(frame, layout)
		}
	})
}

// BenchmarkEncap is what every frame meets on its way out, but for the tables.
func BenchmarkEncap(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		d := datagram(5, s.frame(text(64)))
		frame := d[encap.HeaderLen:]
		for b.Loop() {
			layout := encap.ParseFrame(frame)
			encap.FlowHash(frame, &layout)
			encap.OuterTOS(0, encap.InnerTOS(frame, &layout))
			encap.PutHeader(d, 5)
		}
	})
}

// BenchmarkDecap is what every datagram meets on its way in, likewise.
func BenchmarkDecap(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		d := datagram(5, s.frame(text(64)))
		for b.Loop() {
			if _, err := encap.ParseHeader(d); err != nil {
				b.Fatal(err)
			}
			frame := d[encap.HeaderLen:]
			layout := encap.ParseFrame(frame)
			if err := encap.DecapECN(frame, &layout, 0); err != nil {
				b.Fatal(err)
			}
			encap.DescribeReceived(frame, &layout, 1450, 0)
		}
	})
}

// BenchmarkSplitDatagram takes apart what UDP_GRO joined.
func BenchmarkSplitDatagram(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		var run []byte
		for _, f := range s.segments(text(benchPayload), benchSegment) {
			run = append(run, datagram(5, f)...)
		}
		segment := encap.HeaderLen + s.headers() + benchSegment
		parts := 0
		for b.Loop() {
			parts = 0
			for data := run; len(data) > 0; parts++ {
				data = data[encap.SplitDatagram(data, segment):]
			}
		}
		if want := benchPayload / benchSegment; parts != want {
			b.Fatalf("%d parts, want %d", parts, want)
		}
	})
}

// BenchmarkSegments cuts a super-frame: headers and checksums of all segments.
func BenchmarkSegments(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		super := s.super(text(benchPayload), benchSegment)
		layout := parse(super.Frame)
		header := make([]byte, encap.MaxInnerHeader)
		b.SetBytes(int64(len(super.Frame)))
		for b.Loop() {
			segments, err := encap.CutSuperFrame(&super, layout)
			if err != nil {
				b.Fatal(err)
			}
			for i := range segments.Count() {
				segments.Put(i, header)
			}
		}
	})
}

// BenchmarkCoalescer joins what BenchmarkSegments cuts: it verifies all
// checksums, which is most of it.
func BenchmarkCoalescer(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		frames := s.segments(text(benchPayload), benchSegment)
		layouts := make([]*encap.Layout, len(frames))
		bytes := 0
		for i := range frames {
			layouts[i] = parse(frames[i])
			bytes += len(frames[i])
		}
		saved := append([]byte(nil), frames[0][:s.headers()]...) // the super-frame's headers are written there
		c := coalescer()
		joined := 0
		b.SetBytes(int64(bytes))
		for b.Loop() {
			copy(frames[0], saved)
			for i := range frames {
				c.Add(&encap.Packet{Frame: frames[i]}, layouts[i])
			}
			joined = len(c.Frames())
			c.Reset()
		}
		if joined != 1 {
			b.Fatalf("%d frames after joining, want 1", joined)
		}
	})
}

// BenchmarkCoalescerAlone gives it frames that nothing can be joined to, as
// acknowledgements are.
func BenchmarkCoalescerAlone(b *testing.B) {
	perKind(b, func(b *testing.B, s stream) {
		frame := s.frame(nil)
		layout := parse(frame)
		c := coalescer()
		for b.Loop() {
			c.Add(&encap.Packet{Frame: frame}, layout)
			c.Reset()
		}
	})
}
