package encap_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

// bare is a stream's packet without its Ethernet header.
func bare(s stream, payload []byte) []byte { return s.frame(payload)[14:] }

func TestTrimPacket(t *testing.T) {
	four, six := bare(udp4(), text(100)), bare(udp6(), text(100))
	padded := func(p []byte) []byte { return append(bytes.Clone(p), 0, 0, 0) }
	set := func(p []byte, at int, b ...byte) []byte { return edited(bytes.Clone(p), at, b...) }
	for name, c := range map[string]struct {
		data []byte
		want []byte
		err  error
	}{
		"IPv4":                         {four, four, nil},
		"IPv6":                         {six, six, nil},
		"IPv4, padded":                 {padded(four), four, nil},
		"IPv6, padded":                 {padded(six), six, nil},
		"nothing":                      {nil, nil, encap.ErrBadLength},
		"one byte of IPv4":             {[]byte{0x45}, nil, encap.ErrBadLength},
		"half an IPv4 header":          {four[:19], nil, encap.ErrBadLength},
		"half an IPv6 header":          {six[:39], nil, encap.ErrBadLength},
		"cut off, IPv4":                {four[:len(four)-1], nil, encap.ErrBadLength},
		"cut off, IPv6":                {six[:len(six)-1], nil, encap.ErrBadLength},
		"IPv4 shorter than its header": {set(four, 2, 0, 19), nil, encap.ErrBadLength},
		"IPv4 header of 16 bytes":      {set(four, 0, 0x44), nil, encap.ErrBadLength},
		"IPv4 options longer than it":  {set(four, 0, 0x4f, 0, 0, 59), nil, encap.ErrBadLength},
		"IPv4, header alone":           {set(four, 2, 0, 20), set(four, 2, 0, 20)[:20], nil},
		"IPv6, header alone":           {set(six, 4, 0, 0), set(six, 4, 0, 0)[:40], nil},
		"version 0":                    {set(four, 0, 0x05), nil, encap.ErrNotIP},
		"version 5":                    {set(four, 0, 0x55), nil, encap.ErrNotIP},
		"version 15":                   {[]byte{0xff}, nil, encap.ErrNotIP},
	} {
		got, err := encap.TrimPacket(c.data)
		if !errors.Is(err, c.err) || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, %v, want %x, %v", name, got, err, c.want, c.err)
		}
		if cap(got) != len(got) {
			t.Errorf("%s: what lies behind the packet is within its capacity", name)
		}
	}
}

func TestDestination(t *testing.T) {
	for name, s := range kinds() {
		frame := s.frame(text(10))
		if got := encap.Destination(frame, parse(frame)); !bytes.Equal(got, s.dst.Addr().AsSlice()) {
			t.Errorf("%s: %v, want %v", name, got, s.dst.Addr())
		}
	}
	frame := arp()
	if got := encap.Destination(frame, parse(frame)); got != nil {
		t.Errorf("ARP goes to %v", got)
	}
}

func TestPacketDestination(t *testing.T) {
	for name, s := range kinds() {
		frame := s.frame(text(10))
		packet, header := frame[parse(frame).L3:], map[bool]int{true: 20, false: 40}[s.dst.Addr().Is4()]
		for n := range packet {
			var want []byte
			if n >= header {
				want = s.dst.Addr().AsSlice()
			}
			if got := encap.PacketDestination(packet[:n]); !bytes.Equal(got, want) || cap(got) != len(got) {
				t.Errorf("%s, %d bytes: %v, want %v", name, n, got, want)
			}
		}
	}
	if got := encap.PacketDestination(arp()[14:]); got != nil {
		t.Errorf("ARP goes to %v", got)
	}
}

// TestPutEtherHeader makes of a bare packet the frame that gopacket made.
func TestPutEtherHeader(t *testing.T) {
	for _, s := range []stream{udp4(), tcp6()} {
		want := s.frame(text(50))
		got := append(make([]byte, encap.EtherHeaderLen), want[14:]...)
		encap.PutEtherHeader(got, [6]byte(s.to), [6]byte(s.from), parse(want).Version)
		if !bytes.Equal(got, want) {
			t.Errorf("%x, want %x", got, want)
		}
		l := parse(got)
		if !l.CarriesIP() {
			t.Errorf("no IP in %x", got)
		}
	}
	for name, frame := range map[string][]byte{"ARP": arp(), "VLAN": tagged(tcp4()), "IPv6 as IPv4": edited(bareFrame(tcp6()), 12, 8, 0), "nothing": nil} {
		if l := parse(frame); l.CarriesIP() {
			t.Errorf("%s carries IP: %+v", name, l)
		}
	}
}

func tagged(s stream) []byte {
	s.tags = []uint16{7}
	return s.frame(text(5))
}

func bareFrame(s stream) []byte { return s.frame(text(50)) }

// TestTooBigOfBarePackets: the answer is that to the frame, without the Ethernet
// header.
func TestTooBigOfBarePackets(t *testing.T) {
	for name, s := range map[string]stream{"TCP4": tcp4(), "UDP4": udp4(), "TCP6": tcp6(), "UDP6": udp6()} {
		s.ttl = 9
		for _, size := range []int{700, 1500, 60000} {
			frame := s.frame(text(size))
			l := encap.ParsePacket(frame[14:])
			got := encap.TooBig(make([]byte, encap.TooBigLen), frame[14:], &l, 1400)
			if want := tooBig(t, frame, 1400); !bytes.Equal(got, want[14:]) {
				t.Errorf("%s, %d bytes: %x\nwant %x", name, size, got, want[14:])
			}
		}
	}
}

// TestSuperFramesOfBarePackets cuts and joins packets without an Ethernet
// header: what comes out is what went in.
func TestSuperFramesOfBarePackets(t *testing.T) {
	for name, s := range map[string]stream{"TCP4": tcp4(), "UDP4": udp4(), "TCP6": tcp6(), "UDP6": udp6()} {
		c := coalescer()
		var want [][]byte
		for _, f := range s.segments(text(10*1000), 1000) {
			want = append(want, bytes.Clone(f[14:]))
			packet := f[14:]
			l := encap.ParsePacket(packet)
			c.Add(&encap.Packet{Frame: packet}, &l)
		}
		frames := c.Frames()
		if len(frames) != 1 {
			t.Fatalf("%s: %d packets came of a flow's segments", name, len(frames))
		}
		whole := encap.Packet{Frame: bytes.Clone(frames[0].Frame), GSO: frames[0].GSO}
		for _, part := range frames[0].Tail {
			whole.Frame = append(whole.Frame, part...)
		}
		l := encap.ParsePacket(whole.Frame)
		segments, err := encap.CutSuperFrame(&whole, &l)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got [][]byte
		for i := range segments.Count() {
			header := make([]byte, segments.HeaderLen())
			got = append(got, append(header, segments.Put(i, header)...))
		}
		wantFrames(t, got, want)
	}
}

func decodeBare(packet []byte) gopacket.Packet {
	first := layers.LayerTypeIPv4
	if packet[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	return gopacket.NewPacket(packet, first, gopacket.Default)
}
