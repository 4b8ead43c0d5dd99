package encap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

// Ethernet types in layouts.
const (
	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd
	typeARP  = 0x0806
	typeVLAN = 0x8100
)

func TestParseFrameStreams(t *testing.T) {
	for name, s := range kinds() {
		frame := s.frame(text(33))
		want := encap.Layout{
			EtherType: typeIPv4, Version: 4, Tags: uint8(len(s.tags)), Proto: uint8(s.protocol()),
			L3: s.l3(), L4: s.l4(), Payload: s.headers(), End: len(frame),
		}
		if s.v6() {
			want.EtherType, want.Version = typeIPv6, 6
		}
		if got := *parse(frame); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if got := *parse(append(frame, 0, 0, 0, 0)); got != want {
			t.Errorf("%s with padding: %+v, want %+v", name, got, want)
		}
		checkPacketLayout(t, name, s.packet(text(33)), want, s.l3())
	}
}

// checkPacketLayout wants the layout of a bare packet to be that of its frame,
// less the link layer.
func checkPacketLayout(t *testing.T, name string, packet []byte, want encap.Layout, link int) {
	t.Helper()
	want.Tags = 0
	want.L3, want.L4, want.Payload, want.End = want.L3-link, want.L4-link, want.Payload-link, want.End-link
	if got := encap.ParsePacket(packet); got != want {
		t.Errorf("%s as a packet: %+v, want %+v", name, got, want)
	}
}

// oddFrames are frames with headers that are missing, broken or in the way.
func oddFrames() map[string]struct {
	frame []byte
	want  encap.Layout
} {
	v4, v6 := tcp4(), tcp6()
	type frames = map[string]struct {
		frame []byte
		want  encap.Layout
	}
	edit := func(frame []byte, edits ...int) []byte { // offset, value, offset, value, …
		for i := 0; i < len(edits); i += 2 {
			frame[edits[i]] = byte(edits[i+1])
		}
		return frame
	}
	fragment := encap.Layout{EtherType: typeIPv4, Version: 4, Proto: 6, Fragment: true, L3: 14, End: 14 + 40 + 9}
	no4 := encap.Layout{EtherType: typeIPv4, Version: 4, Proto: 6, L3: 14, End: 14 + 40 + 9}
	headless4 := encap.Layout{EtherType: typeIPv4, L3: 14, End: 14 + 40 + 9}
	headless6 := encap.Layout{EtherType: typeIPv6, L3: 14, End: 14 + 60 + 9}
	f4 := func() []byte { return v4.frame(text(9)) }
	f6 := func() []byte { return v6.frame(text(9)) }
	return frames{
		"first fragment":            {edit(f4(), 20, 0x20), fragment},
		"later fragment":            {edit(f4(), 20, 0x20, 21, 0xb9), fragment},
		"last fragment":             {edit(f4(), 20, 0, 21, 0xb9), fragment},
		"IPv4, other version":       {edit(f4(), 14, 0x65), headless4},
		"IPv4, header of 16 bytes":  {edit(f4(), 14, 0x44), headless4},
		"IPv4, header beyond frame": {edit(f4()[:14+20], 14, 0x46), encap.Layout{EtherType: typeIPv4, L3: 14, End: 34}},
		"IPv4, total length 1":      {edit(f4(), 16, 0, 17, 1), encap.Layout{EtherType: typeIPv4, Version: 4, Proto: 6, L3: 14, End: 15}},
		"IPv4, total length 0":      {edit(f4(), 16, 0, 17, 0), encap.Layout{EtherType: typeIPv4, Version: 4, Proto: 6, L3: 14, L4: 34, Payload: 54, End: 63}},
		"IPv4, length beyond frame": {edit(f4(), 16, 9), encap.Layout{EtherType: typeIPv4, Version: 4, Proto: 6, L3: 14, L4: 34, Payload: 54, End: 63}},
		"TCP header of 16 bytes":    {edit(f4(), 46, 0x40), no4},
		"TCP header beyond packet":  {edit(f4(), 46, 0x80), no4},
		"IPv6, other version":       {edit(f6(), 14, 0x40), headless6},
		"SCTP":                      {edit(f4(), 23, 132), encap.Layout{EtherType: typeIPv4, Version: 4, Proto: 132, L3: 14, End: 63}},
		"ICMP":                      {edit(f4(), 23, 1), encap.Layout{EtherType: typeIPv4, Version: 4, Proto: 1, L3: 14, End: 63}},
		"ARP":                       {arp(), encap.Layout{EtherType: typeARP, L3: 14, End: 42}},
		"802.3 with a length":       {spanningTree(), encap.Layout{EtherType: 38, L3: 14, End: 52}},
		"three tags":                {ethernet(v4.from, v4.to, typeIPv4, v4.packet(nil), 1, 2, 3), encap.Layout{EtherType: typeVLAN, Tags: 2, L3: 22, End: 22 + 4 + 40}},
		"tag without a type":        {append(f4()[:12], 0x81, 0, 0, 1, 8), encap.Layout{EtherType: typeVLAN, L3: 14, End: 17}},
		"Ethernet header alone":     {f4()[:14], encap.Layout{EtherType: typeIPv4, L3: 14, End: 14}},
		"less than that":            {f4()[:13], encap.Layout{End: 13}},
		"nothing":                   {nil, encap.Layout{}},
	}
}

func arp() []byte {
	s := tcp4()
	return ethernet(s.from, s.to, layers.EthernetTypeARP, serialize(complete, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: s.from, SourceProtAddress: s.src.Addr().AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: s.dst.Addr().AsSlice(),
	}))
}

// spanningTree is an IEEE 802.3 frame: 38 bytes of LLC where others have a type.
func spanningTree() []byte {
	s := tcp4()
	return ethernet(s.from, s.to, 38, append([]byte{0x42, 0x42, 3}, text(35)...))
}

func TestParseFrameOdd(t *testing.T) {
	for name, c := range oddFrames() {
		if got := *parse(c.frame); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// extension is an IPv6 extension header of n bytes (RFC 8200 §4) that says
// next comes behind it.
func extension(next byte, n int) []byte {
	b := make([]byte, n)
	b[0], b[1] = next, byte(n/8-1)
	return b
}

// withExtensions puts extension headers, the first of type first, between the
// IPv6 header and the rest of the stream's packet.
func withExtensions(s *stream, first byte, payload []byte, headers ...[]byte) []byte {
	return withExtensionsIn(s.frame(payload), first, headers...)
}

// withExtensionsIn does so in a frame.
func withExtensionsIn(frame []byte, first byte, headers ...[]byte) []byte {
	ip := parse(frame).L3
	at := ip + 40
	long := bytes.Join([][]byte{frame[:at], bytes.Join(headers, nil), frame[at:]}, nil)
	long[ip+6] = first
	binary.BigEndian.PutUint16(long[ip+4:], uint16(len(long)-at))
	return long
}

func TestParseFrameExtensionHeaders(t *testing.T) {
	const hopByHop, routing, fragment, authentication, noNext, destination = 0, 43, 44, 51, 59, 60
	s := udp6()
	base := encap.Layout{EtherType: typeIPv6, Version: 6, Proto: 17, L3: 14}
	for name, c := range map[string]struct {
		first    byte
		headers  [][]byte
		l4       int // 0 = none
		proto    uint8
		fragment bool
	}{
		"hop by hop":          {hopByHop, [][]byte{extension(17, 8)}, 62, 17, false},
		"long destination":    {destination, [][]byte{extension(17, 264)}, 54 + 264, 17, false},
		"several":             {hopByHop, [][]byte{extension(routing, 8), extension(destination, 24), extension(17, 16)}, 54 + 48, 17, false},
		"first fragment":      {fragment, [][]byte{{17, 0, 0, 1, 0, 0, 0, 9}}, 0, 17, true},
		"later fragment":      {fragment, [][]byte{{17, 0, 0x05, 0xa8, 0, 0, 0, 9}}, 0, 17, true},
		"fragment of several": {hopByHop, [][]byte{extension(fragment, 8), {destination, 0, 0, 1, 0, 0, 0, 9}}, 0, destination, true},
		"not known":           {authentication, [][]byte{extension(17, 24)}, 0, authentication, false},
		"nothing behind":      {noNext, nil, 0, noNext, false},
		"more than sane": {destination, [][]byte{
			extension(60, 8), extension(60, 8), extension(60, 8), extension(60, 8), extension(60, 8), extension(60, 8), extension(60, 8),
			extension(60, 8), extension(17, 8),
		}, 0, destination, false},
	} {
		frame := withExtensions(&s, c.first, text(5), c.headers...)
		want := base
		want.Proto, want.Fragment, want.End = c.proto, c.fragment, len(frame)
		if c.l4 != 0 {
			want.L4, want.Payload = c.l4, c.l4+8
		}
		if got := *parse(frame); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// corpus is one frame of every sort, always in the same order.
func corpus() (frames [][]byte) {
	all := kinds()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		frames = append(frames, s.frame(text(20)), append(s.partial(text(9)), 0, 0))
	}
	odd := oddFrames()
	for _, name := range slices.Sorted(maps.Keys(odd)) {
		frames = append(frames, odd[name].frame)
	}
	s := udp6()
	return append(frames,
		withExtensions(&s, 0, text(5), extension(43, 8), extension(17, 16)),
		withExtensions(&s, 44, text(5), []byte{17, 0, 0, 1, 0, 0, 0, 9}))
}

// TestTruncated cuts every sort of frame behind every byte: nothing panics,
// and no header is said to be where there is no room for it.
func TestTruncated(t *testing.T) {
	for _, frame := range corpus() {
		for n := range len(frame) + 1 {
			useEverything(t, bytes.Clone(frame[:n]))
		}
	}
}

// useEverything runs a frame through all that takes frames.
func useEverything(t *testing.T, frame []byte) {
	t.Helper()
	l := parse(frame)
	checkBounds(t, frame, l)
	packet := encap.ParsePacket(frame)
	checkBounds(t, frame, &packet)
	encap.FlowHash(frame, l)
	encap.InnerTOS(frame, l)
	encap.InnerTTL(frame, l)
	encap.InnerDF(frame, l)
	checkDescribed(t, frame, l)
	for outer := range uint8(4) {
		_ = encap.DecapECN(bytes.Clone(frame), l, outer)
	}
	_ = l.CheckLength(frame)
}

// checkDescribed wants a received frame's description to fit the frame, so
// that it can be cut or completed.
func checkDescribed(t *testing.T, frame []byte, l *encap.Layout) {
	t.Helper()
	for _, mtu := range []int{0, 68, 1450} {
		gso := encap.DescribeReceived(frame, l, mtu, 100)
		p := encap.Packet{Frame: bytes.Clone(frame), GSO: gso}
		var err error
		if gso.Type != encap.GSONone {
			_, err = encap.CutSuperFrame(&p, l)
		} else if gso.NeedsCsum {
			err = encap.FinishChecksum(&p, l)
		}
		if err != nil {
			t.Errorf("described as %+v, and then %v: %x", gso, err, frame)
		}
	}
}

// checkBounds checks what every Layout promises of its frame.
func checkBounds(t *testing.T, frame []byte, l *encap.Layout) {
	t.Helper()
	n := len(frame)
	ok := l.Tags <= 2 && l.L3 >= 0 && l.L3 <= n && l.End >= l.L3 && l.End <= n
	switch l.Version {
	case 0:
		ok = ok && l.L4 == 0 && l.Proto == 0 && !l.Fragment && l.End == n
	case 4:
		ok = ok && n >= l.L3+20 && n >= l.L3+int(frame[l.L3]&15)*4
	case 6:
		ok = ok && n >= l.L3+40
	default:
		ok = false
	}
	if l.L4 == 0 {
		ok = ok && l.Payload == 0
	} else {
		header := map[uint8]int{6: 20, 17: 8}[l.Proto]
		ok = ok && header != 0 && !l.Fragment && l.L4 >= l.L3+20 && l.Payload >= l.L4+header && l.Payload <= l.End
	}
	if !ok {
		t.Errorf("layout %+v of %d bytes: %x", *l, n, frame)
	}
}

// TestDescriptionsAnyway pairs frames with descriptions that are not theirs:
// they are refused or cut, but nothing panics.
func TestDescriptionsAnyway(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, frame := range corpus() {
		l := parse(frame)
		for range 300 {
			useDescription(encap.Packet{Frame: bytes.Clone(frame), GSO: encap.GSO{
				Type: encap.GSOType(random.UintN(6)), Size: uint16(random.UintN(80)), NeedsCsum: random.UintN(2) == 0,
				CsumStart: uint16(l.L4 + random.IntN(3)), CsumOffset: uint16(random.UintN(40)), HeaderLen: uint16(random.UintN(100)),
			}}, l)
		}
	}
}

// useDescription cuts a packet or completes it, whatever comes of it.
func useDescription(p encap.Packet, l *encap.Layout) {
	if segments, err := encap.CutSuperFrame(&p, l); err == nil {
		header := make([]byte, segments.HeaderLen())
		for i := range segments.Count() {
			segments.Put(i, header)
		}
	}
	_ = encap.FinishChecksum(&p, l)
}

// The kernel's device looks at the fixed IP header of untagged frames only.
func TestCheckLength(t *testing.T) {
	v4, v6 := tcp4(), tcp6()
	tagged := v4
	tagged.tags = []uint16{5}
	for name, c := range map[string]struct {
		frame []byte
		least int // bytes; 0 = any length will do
	}{
		"IPv4":   {v4.frame(nil), 14 + 20},
		"IPv6":   {v6.frame(nil), 14 + 40},
		"tagged": {tagged.frame(nil), 0},
		"ARP":    {arp(), 0},
	} {
		for n := 14; n <= len(c.frame); n++ {
			err := parse(c.frame[:n]).CheckLength(c.frame[:n])
			if short := n < c.least; short != errors.Is(err, encap.ErrBadLength) || !short && err != nil {
				t.Errorf("%s, %d bytes: %v", name, n, err)
			}
		}
	}
}

// gopacket reads what the builders made as what they were asked for, so the
// tests' frames are what they are called.
func TestBuildersAgainstGopacket(t *testing.T) {
	for name, s := range kinds() {
		p := gopacket.NewPacket(s.frame(text(40)), layers.LayerTypeEthernet, gopacket.Default)
		if p.ErrorLayer() != nil || p.TransportLayer() == nil || !bytes.Equal(p.TransportLayer().LayerPayload(), text(40)) {
			t.Errorf("%s: %v", name, p)
		}
	}
}
