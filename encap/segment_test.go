package encap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

// cut returns all segments as frames.
func cut(s *encap.Segments) (frames [][]byte) {
	for i := range s.Count() {
		header := bytes.Repeat([]byte{0xee}, s.HeaderLen()+1)
		payload := s.Put(i, header)
		if header[s.HeaderLen()] != 0xee {
			panic("Put wrote behind the header")
		}
		frames = append(frames, append(header[:s.HeaderLen()], payload...))
	}
	return frames
}

// checkCut cuts a super-frame of the stream and compares every byte with the
// frames that gopacket builds.
func checkCut(t *testing.T, name string, s stream, payload []byte, size int) {
	t.Helper()
	p := s.super(payload, size)
	before := bytes.Clone(p.Frame)
	segments, err := encap.CutSuperFrame(&p, parse(p.Frame))
	if err != nil {
		t.Fatalf("%s, %d bytes at %d: %v", name, len(payload), size, err)
	}
	wantFrames(t, cut(&segments), s.segments(payload, size))
	if !bytes.Equal(p.Frame, before) {
		t.Errorf("%s, %d bytes at %d: the super-frame's own memory was written to", name, len(payload), size)
	}
	if t.Failed() {
		t.Fatalf("%s, %d bytes at %d", name, len(payload), size)
	}
}

func TestSegments(t *testing.T) {
	for name, s := range kinds() {
		for _, df := range []bool{true, false} {
			s.df = df
			for _, c := range [][2]int{ // payload, size
				{0, 100}, {1, 1}, {5, 1}, {99, 100}, {100, 100}, {101, 100}, {1400, 1400}, {1401, 1400}, {4200, 1400},
				{9999, 1399}, {9999, 777}, {65000, 1448}, {60000, 65535}, {1000, 65535},
			} {
				checkCut(t, name, s, text(c[0]), c[1])
			}
		}
	}
}

// The largest payloads that the length fields can say.
func TestSegmentsOfTheLargestSuperFrame(t *testing.T) {
	for name, s := range kinds() {
		largest := 65535 - (s.headers() - s.l3())
		if s.v6() {
			largest += 40
		}
		checkCut(t, name, s, text(largest), 1448)
	}
}

// FIN and PSH belong to the last segment, CWR to the first, the rest to all.
func TestSegmentsFlags(t *testing.T) {
	for _, s := range []stream{tcp4(), tcp6()} {
		for _, flags := range []uint8{ack, ack | psh, ack | fin, ack | fin | psh, ack | cwr, ack | ece, ack | urg, 0xff &^ syn &^ rst} {
			s.flags, s.nonceSum, s.urgent = flags, true, 9
			checkCut(t, "flags", s, text(3500), 1000)
			checkCut(t, "flags of one segment", s, text(999), 1000)
			flagsOf(t, s, flags)
		}
	}
}

// flagsOf says it in plain words, apart from the builder.
func flagsOf(t *testing.T, s stream, flags uint8) {
	t.Helper()
	p := s.super(text(3500), 1000)
	segments, err := encap.CutSuperFrame(&p, parse(p.Frame))
	if err != nil {
		t.Fatal(err)
	}
	frames := cut(&segments)
	for i, f := range frames {
		tcp := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeTCP).(*layers.TCP)
		last := i == len(frames)-1
		if tcp.FIN != (last && flags&fin != 0) || tcp.PSH != (last && flags&psh != 0) || tcp.CWR != (i == 0 && flags&cwr != 0) {
			t.Errorf("flags %#x, segment %d of %d: FIN %v, PSH %v, CWR %v", flags, i+1, len(frames), tcp.FIN, tcp.PSH, tcp.CWR)
		}
		if want := s.seq + uint32(1000*i); tcp.Seq != want || tcp.ACK != (flags&ack != 0) || tcp.ECE != (flags&ece != 0) {
			t.Errorf("flags %#x, segment %d: sequence %d (want %d), ACK %v, ECE %v", flags, i+1, tcp.Seq, want, tcp.ACK, tcp.ECE)
		}
	}
}

// IPv4 identifications count up from the super-frame's, past the largest too.
func TestSegmentsIdentification(t *testing.T) {
	for _, s := range []stream{tcp4(), udp4()} {
		s.id = 0xfffe
		checkCut(t, "identification", s, text(4000), 1000)
	}
}

// A UDP segment whose checksum comes out as zero says so with all ones.
func TestSegmentsZeroChecksum(t *testing.T) {
	for name, s := range kinds() {
		first := summingToZero(&s)
		checkCut(t, name, s, append(bytes.Clone(first), first...), 2)
	}
}

// IPv4 options stand in every segment.
func TestSegmentsWithIPv4Options(t *testing.T) {
	for _, s := range []stream{tcp4(), udp4()} {
		routerAlert := []byte{0x94, 4, 0, 0}
		insert := func(frame []byte) []byte {
			long := bytes.Join([][]byte{frame[:34], routerAlert, frame[34:]}, nil)
			long[14] = 0x46
			binary.BigEndian.PutUint16(long[16:], uint16(len(long)-14))
			long[24], long[25] = 0, 0
			binary.BigEndian.PutUint16(long[24:], ^naiveSum(long[14:38], 0))
			return long
		}
		p := s.super(text(2500), 1000)
		p.Frame = insert(p.Frame)
		p.GSO.CsumStart += 4
		segments, err := encap.CutSuperFrame(&p, parse(p.Frame))
		if err != nil {
			t.Fatal(err)
		}
		want := s.segments(text(2500), 1000)
		for i := range want {
			want[i] = insert(want[i])
		}
		wantFrames(t, cut(&segments), want)
	}
}

// IPv6 extension headers stand in every segment. A routing header's final
// destination is the one that counts for checksums (RFC 8200 §8.1), and the
// sum in the field has it.
func TestSegmentsWithExtensionHeaders(t *testing.T) {
	final := netip.MustParseAddr("fd00::99")
	// Segment routing header (RFC 8754 §2): one segment left, the final destination first.
	routing := append([]byte{0, 2, 4, 1, 0, 0, 0, 0}, final.AsSlice()...)
	for _, s := range []stream{tcp6(), udp6()} {
		routing[0] = byte(s.protocol())
		plain := [][]byte{extension(60, 8), extension(byte(s.protocol()), 16)}
		checkCutExtensions(t, "hop by hop and destination", s, s, 0, plain...)
		behind := s
		behind.dst = netip.AddrPortFrom(final, s.dst.Port())
		checkCutExtensions(t, "routing", s, behind, 43, routing)
	}
}

// checkCutExtensions cuts a super-frame with extension headers; s is the
// stream as its addresses stand in the IPv6 header, end as its checksums see it.
func checkCutExtensions(t *testing.T, name string, s, end stream, first byte, headers ...[]byte) {
	t.Helper()
	address := func(frame []byte) []byte { copy(frame[38:54], s.dst.Addr().AsSlice()); return frame }
	added := len(bytes.Join(headers, nil))
	p := end.super(text(2500), 1000)
	p.Frame = address(withExtensionsIn(p.Frame, first, headers...))
	p.GSO.CsumStart += uint16(added)
	segments, err := encap.CutSuperFrame(&p, parse(p.Frame))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	want := end.segments(text(2500), 1000)
	for i := range want {
		want[i] = address(withExtensionsIn(want[i], first, headers...))
	}
	for i, got := range cut(&segments) {
		if !bytes.Equal(got, want[i]) {
			t.Errorf("%s: segment %d differs:\ngot  %x\nwant %x", name, i, got[:140], want[i][:140])
			return
		}
	}
}

func TestSegmentsRefused(t *testing.T) {
	tcp, six, udp := tcp4(), tcp6(), udp4()
	super := func(s stream, edit func(*encap.Packet)) encap.Packet {
		p := s.super(text(2000), 1000)
		edit(&p)
		return p
	}
	other := func(frame []byte, gso encap.GSO) encap.Packet { return encap.Packet{Frame: frame, GSO: gso} }
	gso := func(s stream) encap.GSO { p := s.super(nil, 1000); return p.GSO }
	for name, p := range map[string]encap.Packet{
		"size 0":                   super(tcp, func(p *encap.Packet) { p.GSO.Size = 0 }),
		"no type":                  super(tcp, func(p *encap.Packet) { p.GSO.Type = encap.GSONone }),
		"unknown type":             super(tcp, func(p *encap.Packet) { p.GSO.Type = 9 }),
		"TCP6 over IPv4":           super(tcp, func(p *encap.Packet) { p.GSO.Type = encap.GSOTCP6 }),
		"TCP4 over IPv6":           super(six, func(p *encap.Packet) { p.GSO.Type = encap.GSOTCP4 }),
		"UDP that is TCP":          super(tcp, func(p *encap.Packet) { p.GSO.Type = encap.GSOUDP }),
		"TCP that is UDP":          super(udp, func(p *encap.Packet) { p.GSO.Type = encap.GSOTCP4 }),
		"checksum of the network":  super(tcp, func(p *encap.Packet) { p.GSO.CsumStart = 14 }),
		"checksum in the payload":  super(tcp, func(p *encap.Packet) { p.GSO.CsumStart += 20 }),
		"without Ethernet header":  super(tcp, func(p *encap.Packet) { p.GSO.CsumStart -= 14 }),
		"TCP header cut off":       super(tcp, func(p *encap.Packet) { p.Frame = p.Frame[:50] }),
		"IP header cut off":        super(tcp, func(p *encap.Packet) { p.Frame = p.Frame[:30] }),
		"fragment":                 super(tcp, func(p *encap.Packet) { p.Frame[20] = 0x20 }),
		"ARP":                      other(arp(), gso(tcp)),
		"empty":                    other(nil, gso(tcp)),
		"headers of 300 bytes":     other(withExtensions(&six, 0, text(2000), extension(6, 248)), encap.GSO{Type: encap.GSOTCP6, Size: 100, CsumStart: 54 + 248}),
		"headers beyond the frame": other(withExtensions(&six, 0, nil, extension(6, 8))[:58], gso(six)),
	} {
		if _, err := encap.CutSuperFrame(&p, parse(p.Frame)); !errors.Is(err, encap.ErrGSO) {
			t.Errorf("%s: %v, want ErrGSO", name, err)
		}
	}
}

// TestLongestHeaders cuts behind the most header bytes that are promised.
func TestLongestHeaders(t *testing.T) {
	s := tcp6()
	s.tags = []uint16{1, 2}
	s.options = []layers.TCPOption{{OptionType: 254, OptionData: make([]byte, 38)}}
	room := encap.MaxInnerHeader - s.headers()
	room -= room % 8
	p := s.super(text(2500), 1000)
	p.Frame = withExtensions(&s, 0, text(2500), extension(6, room))
	binary.BigEndian.PutUint16(p.Frame[s.l4()+room+16:], s.pseudoSum(60+2500))
	p.GSO.CsumStart += uint16(room)
	segments, err := encap.CutSuperFrame(&p, parse(p.Frame))
	if err != nil || segments.Count() != 3 {
		t.Fatalf("%d bytes of headers: %v", s.headers()+room, err)
	}
	for i, f := range cut(&segments) {
		packet := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
		if packet.ErrorLayer() != nil || packet.TransportLayer() == nil {
			t.Errorf("segment %d: %v", i, packet)
		}
	}
}

// MAC addresses and tags of the super-frame are those of its segments.
func TestSegmentsKeepTheLink(t *testing.T) {
	s := tcp4()
	s.from, s.to, s.tags = net.HardwareAddr{2, 1, 2, 3, 4, 5}, net.HardwareAddr{2, 6, 7, 8, 9, 10}, []uint16{4094}
	checkCut(t, "link", s, text(2100), 1000)
}
