package encap_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/weftnet/weft/encap"
)

// datagram is a frame behind a VXLAN header.
func datagram(vni uint32, frame []byte) []byte {
	d := make([]byte, encap.HeaderLen, encap.HeaderLen+len(frame))
	encap.PutHeader(d, vni)
	return append(d, frame...)
}

// split takes apart what one receive call returned.
func split(data []byte, segment int) (parts [][]byte) {
	for len(data) > 0 {
		n := encap.SplitDatagram(data, segment)
		parts = append(parts, data[:n])
		data = data[n:]
	}
	return parts
}

// TestSplitRuns takes runs apart that the kernel's UDP_GRO joined: equal
// datagrams, the last one perhaps shorter.
func TestSplitRuns(t *testing.T) {
	for name, s := range kinds() {
		for _, last := range []int{1, 500, 1000} {
			var want [][]byte
			for range 5 {
				want = append(want, datagram(5, s.frame(text(1000))))
			}
			want = append(want, datagram(5, s.frame(text(last))))
			wantFrames(t, split(slices.Concat(want...), len(want[0])), want)
			wantFrames(t, split(want[0], 0), want[:1])
			wantFrames(t, split(want[0], len(want[0])), want[:1])
			if t.Failed() {
				t.Fatalf("%s, last %d", name, last)
			}
		}
	}
	one := datagram(5, arp())
	wantFrames(t, split(slices.Concat(one, one, one), len(one)), [][]byte{one, one, one})
}

// Datagrams too short for a frame are still datagrams, each to be counted.
func TestSplitRunsOfShortDatagrams(t *testing.T) {
	for _, size := range []int{1, 7, 8, 10, 20, 21} {
		var want [][]byte
		for i := range 4 {
			want = append(want, bytes.Repeat([]byte{byte(i)}, size))
		}
		wantFrames(t, split(slices.Concat(want...), size), want)
	}
}

// TestSplitLeavesSuperFramesWhole is the other meaning of the kernel's value:
// the segment size inside one VXLAN packet.
func TestSplitLeavesSuperFramesWhole(t *testing.T) {
	for name, s := range kinds() {
		whole := datagram(5, s.partial(text(5000)))
		if got := encap.SplitDatagram(whole, 1000); got != len(whole) {
			t.Errorf("%s: super-frame of %d bytes is split at %d", name, len(whole), got)
		}
		// With another datagram behind it, the inner length does not reach the end.
		run := append(bytes.Clone(whole), whole...)
		if got := encap.SplitDatagram(run, len(whole)); got != len(whole) {
			t.Errorf("%s: run is split at %d, want %d", name, got, len(whole))
		}
	}
}

// TestDescribeReceived tells frames apart that a receiver can get from a
// sender on the same machine and from one far away.
func TestDescribeReceived(t *testing.T) {
	const mtu = 1450
	for name, s := range kinds() {
		csum := encap.GSO{NeedsCsum: true, CsumStart: uint16(s.l4()), CsumOffset: uint16(s.checksumOffset()), HeaderLen: uint16(s.headers())}
		super := csum
		super.Type, super.Size = s.gsoType(), uint16(mtu-(s.headers()-s.l3()))
		usual := mtu - (s.headers() - s.l3()) // payload of the largest frame that is not a super-frame
		sized, small := super, csum
		if s.udp {
			sized.Size = 1000
			super, small = csum, sized // without a value its size is not known; with one, every segment is a datagram
		}
		for what, c := range map[string]struct {
			frame   []byte
			segment int
			want    encap.GSO
		}{
			"complete":                      {s.frame(text(100)), 0, encap.GSO{}},
			"complete, however large":       {s.frame(text(9000)), 1000, encap.GSO{}},
			"corrupt":                       {corrupted(s.frame(text(100))), 0, encap.GSO{}},
			"partial":                       {s.partial(text(100)), 0, csum},
			"partial and padded":            {append(s.partial(text(1)), make([]byte, 20)...), 0, csum},
			"partial of the largest size":   {s.partial(text(usual)), 0, csum},
			"super-frame below the MTU":     {s.partial(text(1001)), 1000, small},
			"partial of exactly a segment":  {s.partial(text(1000)), 1000, csum},
			"super-frame":                   {s.partial(text(usual + 1)), 0, super},
			"super-frame with segment size": {s.partial(text(9000)), 1000, sized},
		} {
			if got := encap.DescribeReceived(c.frame, parse(c.frame), mtu, c.segment); got != c.want {
				t.Errorf("%s, %s: %+v, want %+v", name, what, got, c.want)
			}
			alone := c.want
			alone.Type, alone.Size = encap.GSONone, 0
			if got := encap.DescribeSent(c.frame, parse(c.frame)); got != alone {
				t.Errorf("%s, %s, sent: %+v, want %+v", name, what, got, alone)
			}
		}
	}
}

// corrupted has one bit of the payload the other way round.
func corrupted(frame []byte) []byte {
	frame[len(frame)-3] ^= 0x10
	return frame
}

// A UDP checksum of zero is none at all, even where the pseudo-header sums to
// nothing else, and headers that cannot be seen cannot be completed.
func TestDescribeReceivedNothingToDo(t *testing.T) {
	none := udp4()
	none.noChecksum = true
	first := tcp4()
	part := first.partial(text(2000))
	binary.BigEndian.PutUint16(part[20:], 0x2000)
	for name, frame := range map[string][]byte{
		"UDP without checksum": none.frame(text(2000)), "first fragment": part, "ARP": arp(), "cut off": part[:40],
	} {
		if got := encap.DescribeReceived(frame, parse(frame), 1450, 1000); got != (encap.GSO{}) {
			t.Errorf("%s: %+v", name, got)
		}
		if got := encap.DescribeSent(frame, parse(frame)); got != (encap.GSO{}) {
			t.Errorf("%s, sent: %+v", name, got)
		}
	}
}

// TestSuperFrameIsReceivedAsSent follows facts 1 to 3 to their end: what a
// sender's kernel left unfinished can be cut into frames that are right.
func TestSuperFrameIsReceivedAsSent(t *testing.T) {
	for name, s := range kinds() {
		size := 1450 - (s.headers() - s.l3())
		payload := text(5*size + 17)
		frame := s.partial(payload)
		l := parse(frame)
		p := encap.Packet{Frame: frame, GSO: encap.DescribeReceived(frame, l, 1450, size)}
		segments, err := encap.CutSuperFrame(&p, l)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wantFrames(t, cut(&segments), s.segments(payload, size))
	}
}

// TestCompletedTwice has a datagram whose checksum, which is complete, looks as if it
// were not: to complete it again changes nothing.
func TestCompletedTwice(t *testing.T) {
	for name, s := range kinds() {
		frame := s.frame(text(100))
		// The checksum is that of the pseudo-header if everything else adds up to its
		// complement: two bytes of the payload see to that.
		partial := s.partial(text(100))
		at := s.l4() + s.checksumOffset()
		copy(frame[at:], partial[at:at+2])
		l := parse(frame)
		binary.BigEndian.PutUint16(frame[s.headers()+2:], 0)
		rest := encap.Checksum(frame[s.l4():l.End], 0)
		pseudo := binary.BigEndian.Uint16(frame[at:])
		word := uint32(0xffff&^(rest)) + uint32(0xffff&^pseudo)
		binary.BigEndian.PutUint16(frame[s.headers()+2:], uint16(word+word>>16))
		gso := encap.DescribeSent(frame, l)
		if !gso.NeedsCsum {
			t.Fatalf("%s: it does not look unfinished", name)
		}
		want := bytes.Clone(frame)
		if err := encap.FinishChecksum(&encap.Packet{Frame: frame, GSO: gso}, l); err != nil || !bytes.Equal(frame, want) {
			t.Errorf("%s: %v\n%x\n%x", name, err, frame, want)
		}
	}
}
