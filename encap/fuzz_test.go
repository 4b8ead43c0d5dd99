package encap_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

// FuzzDecapEncap: what was encapsulated comes out as it went in, and what is
// accepted without reserved bits is what would have been sent.
func FuzzDecapEncap(f *testing.F) {
	for _, frame := range corpus() {
		f.Add(uint32(5), frame)
	}
	f.Add(uint32(0), []byte(nil))
	f.Add(uint32(1<<24-1), []byte{8, 0, 0, 0, 0, 0, 5, 0})
	f.Fuzz(func(t *testing.T, vni uint32, frame []byte) {
		vni &= 1<<24 - 1
		d := datagram(vni, frame)
		h, err := encap.ParseHeader(d)
		if err != nil || h != (encap.Header{VNI: vni}) || !bytes.Equal(d[encap.HeaderLen:], frame) {
			t.Fatalf("VNI %d came out as %+v, %v", vni, h, err)
		}
		var vxlan layers.VXLAN
		if gopacketVXLAN(d, &vxlan); vxlan.VNI != vni || !vxlan.ValidIDFlag || vxlan.GBPExtension || vxlan.GBPGroupPolicyID != 0 {
			t.Fatalf("gopacket reads % x as %+v", d[:8], vxlan)
		}
		if n := encap.SplitDatagram(d, 0); n != len(d) {
			t.Fatalf("one datagram of %d bytes is split at %d", len(d), n)
		}
		checkReencap(t, frame)
	})
}

func gopacketVXLAN(d []byte, v *layers.VXLAN) {
	packet := gopacket.NewPacket(d, layers.LayerTypeVXLAN, gopacket.Default)
	if l, ok := packet.Layer(layers.LayerTypeVXLAN).(*layers.VXLAN); ok {
		*v = *l
	}
}

// checkReencap takes arbitrary bytes for a datagram.
func checkReencap(t *testing.T, d []byte) {
	t.Helper()
	h, err := encap.ParseHeader(d)
	if err != nil || h.Reserved {
		return
	}
	again := make([]byte, encap.HeaderLen)
	if encap.PutHeader(again, h.VNI); !bytes.Equal(again, d[:encap.HeaderLen]) {
		t.Fatalf("% x was taken for VNI %d without reserved bits", d[:8], h.VNI)
	}
}

// FuzzSegmentCoalesce cuts a super-frame: all checksums of the segments are
// right, they hold the payload, and joined they are the super-frame again.
func FuzzSegmentCoalesce(f *testing.F) {
	for kind := range byte(16) {
		f.Add(kind, byte(ack), uint16(100), uint16(7), text(1000))
		f.Add(kind, byte(ack|psh), uint16(1448), uint16(0xffff), text(14480))
	}
	f.Add(byte(0), byte(ack|fin|cwr), uint16(1), uint16(0), text(20))
	f.Add(byte(2), byte(0), uint16(0xffff), uint16(0), []byte(nil))
	f.Fuzz(func(t *testing.T, kind, flags byte, size, id uint16, payload []byte) {
		s := fuzzedStream(kind, flags, id)
		n := max(int(size), 1)
		if len(payload) > 60000 || s.udp && len(payload) > 64*n || len(payload) > 500*n {
			t.Skip("more than a super-frame")
		}
		super := s.super(payload, n)
		l := parse(super.Frame)
		segments, err := encap.CutSuperFrame(&super, l)
		if err != nil {
			t.Fatal(err)
		}
		frames := cut(&segments)
		checkSegments(t, frames, payload, n)
		wantFrames(t, frames, s.segments(payload, n))
		checkRejoined(t, &s, frames, super)
	})
}

// fuzzedStream has a bit for each thing that a stream can be.
func fuzzedStream(kind, flags byte, id uint16) stream {
	s := []stream{tcp4(), tcp6(), udp4(), udp6()}[kind%4]
	s.flags, s.id, s.df, s.tos, s.label = flags, id, kind&4 != 0, kind, uint32(kind)
	if kind&8 != 0 {
		s.tags = []uint16{uint16(kind)}
	}
	if kind&16 != 0 {
		s.tags = append(s.tags, 7)
	}
	if kind&32 != 0 {
		s.options = timestamps(uint32(id), uint32(kind))
	}
	return s
}

// checkSegments decodes every segment with gopacket and sums it up naively.
func checkSegments(t *testing.T, frames [][]byte, payload []byte, size int) {
	t.Helper()
	var have []byte
	for i, frame := range frames {
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		part := p.TransportLayer().LayerPayload()
		if i < len(frames)-1 && len(part) != size || len(part) > size {
			t.Fatalf("segment %d of %d has %d bytes, size is %d", i+1, len(frames), len(part), size)
		}
		have = append(have, part...)
		checkSums(t, p)
	}
	if !bytes.Equal(have, payload) {
		t.Fatalf("the segments hold %d bytes, not the payload of %d", len(have), len(payload))
	}
}

// checkSums verifies the checksums of a decoded frame.
func checkSums(t *testing.T, p gopacket.Packet) {
	t.Helper()
	l4 := slices.Concat(p.TransportLayer().LayerContents(), p.TransportLayer().LayerPayload())
	var pseudo []byte
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		if sum := naiveSum(ip.Contents, 0); sum != 0xffff {
			t.Fatalf("IPv4 header sums to %#x", sum)
		}
		pseudo = slices.Concat(ip.SrcIP, ip.DstIP, []byte{0, byte(ip.Protocol)})
	case *layers.IPv6:
		pseudo = slices.Concat(ip.SrcIP, ip.DstIP, []byte{0, byte(ip.NextHeader)})
	}
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(l4)))
	if sum := naiveSum(l4, naiveSum(pseudo, 0)); sum != 0xffff {
		t.Fatalf("%v sums to %#x", p.TransportLayer().LayerType(), sum)
	}
	if udp, ok := p.TransportLayer().(*layers.UDP); ok && udp.Checksum == 0 {
		t.Fatal("UDP checksum 0 means that there is none")
	}
}

// checkRejoined gives segments to a Coalescer. Those with flags that only one
// segment may have are not joined; they come out as they went in.
func checkRejoined(t *testing.T, s *stream, frames [][]byte, super encap.Packet) {
	t.Helper()
	c := coalescer()
	add(c, frames...)
	made := c.Frames()
	joins := s.udp || s.flags&^psh == ack
	switch {
	case joins && len(frames) > 1:
		if len(made) != 1 || made[0].GSO != super.GSO {
			t.Fatalf("%d segments became %d frames, the first with %+v", len(frames), len(made), made[0].GSO)
		}
		wantFrames(t, [][]byte{whole(&made[0]).Frame}, [][]byte{super.Frame})
	default:
		wantFrames(t, expand(t, made), frames)
	}
}

// FuzzChecksum compares each way of adding up with the naive loop, in one piece
// and in two.
func FuzzChecksum(f *testing.F) {
	for _, n := range []int{0, 1, 2, 7, 8, 9, 63, 64, 65, 127, 159, 160, 191, 287, 1500} {
		f.Add(text(n), uint16(0), 0)
		f.Add(bytes.Repeat([]byte{0xff}, n), uint16(0xffff), n/2)
	}
	f.Fuzz(func(t *testing.T, b []byte, initial uint16, at int) {
		want := naiveSum(b, initial)
		at = min(max(at, 0), len(b)) &^ 1
		for _, vectors := range []bool{false, encap.HasVectors()} {
			encap.WithVectors(vectors, func() {
				if got := encap.Checksum(b, initial); got != want {
					t.Fatalf("vectors %v: %#x, want %#x", vectors, got, want)
				}
				if got := encap.Checksum(b[at:], encap.Checksum(b[:at], initial)); got != want {
					t.Fatalf("vectors %v, in two pieces, cut at %d: %#x, want %#x", vectors, at, got, want)
				}
			})
		}
	})
}

// FuzzParseFrame: whatever the bytes, offsets are in bounds, and what goes by
// them does not panic.
func FuzzParseFrame(f *testing.F) {
	for _, frame := range corpus() {
		f.Add(frame, uint8(1), uint16(100), uint16(34), uint16(16))
	}
	f.Fuzz(func(t *testing.T, frame []byte, kind uint8, size, start, offset uint16) {
		useEverything(t, frame)
		gso := encap.GSO{Type: encap.GSOType(kind % 5), Size: size, NeedsCsum: true, CsumStart: start, CsumOffset: offset}
		l := parse(frame)
		// Thousands of segments take the fuzzer's time and show nothing new.
		gso.Size = max(gso.Size, uint16(len(frame)/500))
		useDescription(encap.Packet{Frame: bytes.Clone(frame), GSO: gso}, l)
		gso.CsumStart = uint16(l.L4)
		useDescription(encap.Packet{Frame: bytes.Clone(frame), GSO: gso}, l)
	})
}

// FuzzCoalesceArbitrary gives a Coalescer a batch of arbitrary frames and of
// segments with arbitrary flaws: every frame comes out once, each flow in order.
func FuzzCoalesceArbitrary(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0, 0, 1, 0}, 40))
	f.Add(bytes.Repeat([]byte{0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0}, 30))
	for i := range special {
		f.Add(slices.Concat(bytes.Repeat([]byte{0, 0, 2, 0, 6, 0}, 4), []byte{0xa8, byte(i), 0xaa, byte(i)}, bytes.Repeat([]byte{0, 0, 2, 0, 6, 0}, 4)))
	}
	for _, frame := range corpus() {
		const raw = 11
		length := byte(min(len(frame), 255)) // as special[raw] computes it: op*31+arg
		op := byte(0)
		for op = 0xa0; op*31+raw != length && op != 0xff; op++ {
		}
		f.Add(slices.Concat([]byte{0, 0, 0, 0, op, raw}, frame, []byte{0, 0, 0, 0}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkCoalesced(t, coalescer(), newMixer(data).frames())
	})
}

// FuzzSplitDatagram: the parts are all of the data, and where the data is left
// whole although the kernel's value is shorter, there is an inner packet that
// takes all of it.
func FuzzSplitDatagram(f *testing.F) {
	for _, frame := range corpus() {
		d := datagram(5, frame)
		f.Add(d, len(d))
		f.Add(slices.Concat(d, d, d[:len(d)/2]), len(d))
		f.Add(d, len(d)/2)
	}
	f.Add(make([]byte, 20), 8)
	f.Add([]byte(nil), -1)
	f.Fuzz(func(t *testing.T, data []byte, segment int) {
		if len(data) == 0 {
			return
		}
		n := encap.SplitDatagram(data, segment)
		want := len(data)
		if segment > 0 && segment < len(data) && !innerTakesAll(data) {
			want = segment
		}
		if n != want {
			t.Fatalf("%d bytes with segments of %d are split at %d, want %d: %x", len(data), segment, n, want, data)
		}
	})
}

// innerTakesAll reads the inner IP header's length without encap.
func innerTakesAll(data []byte) bool {
	if len(data) < 8+14 {
		return false
	}
	rest := data[8+12:]
	for range 2 {
		if t := binary.BigEndian.Uint16(rest); (t == 0x8100 || t == 0x88a8) && len(rest) >= 6 {
			rest = rest[4:]
		}
	}
	etherType, ip := binary.BigEndian.Uint16(rest), rest[2:]
	switch {
	case etherType == 0x0800 && len(ip) >= 20 && ip[0]>>4 == 4 && ip[0]&15 >= 5 && len(ip) >= int(ip[0]&15)*4:
		return int(binary.BigEndian.Uint16(ip[2:])) == len(ip)
	case etherType == 0x86dd && len(ip) >= 40 && ip[0]>>4 == 6:
		return int(binary.BigEndian.Uint16(ip[4:]))+40 == len(ip)
	}
	return false
}
