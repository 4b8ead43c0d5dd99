package encap_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

// TCP flag bits as a stream has them.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	psh = 0x08
	ack = 0x10
	urg = 0x20
	ece = 0x40
	cwr = 0x80
)

// stream is one direction of a TCP connection or UDP flow. Its methods build
// its frames with gopacket, which is the oracle: it shares no code with encap.
type stream struct {
	udp        bool
	src, dst   netip.AddrPort
	tags       []uint16 // VLAN identifiers, the outermost first
	ttl, tos   uint8
	df         bool   // IPv4
	id         uint16 // IPv4, of the first frame
	label      uint32 // IPv6
	seq, ack   uint32
	flags      uint8
	window     uint16
	options    []layers.TCPOption
	from, to   net.HardwareAddr
	urgent     uint16
	nonceSum   bool
	noChecksum bool
}

func tcpStream(src, dst string) stream {
	return stream{
		src: netip.MustParseAddrPort(src), dst: netip.MustParseAddrPort(dst),
		ttl: 64, df: true, id: 0x1234, seq: 0xfffff000, ack: 77, flags: ack, window: 501,
		from: net.HardwareAddr{2, 0, 0, 0, 0, 1}, to: net.HardwareAddr{2, 0, 0, 0, 0, 2},
	}
}

func udpStream(src, dst string) stream {
	s := tcpStream(src, dst)
	s.udp = true
	return s
}

// The four kinds of streams that super-frames are made of.
func tcp4() stream { return tcpStream("10.0.0.1:40000", "10.0.0.2:443") }
func tcp6() stream { return tcpStream("[fd00::1]:40000", "[fd00::2]:443") }
func udp4() stream { return udpStream("10.0.0.1:40000", "10.0.0.2:5001") }
func udp6() stream { return udpStream("[fd00::1]:40000", "[fd00::2]:5001") }

// kinds names them, plain and with what may stand in front of or behind their
// headers.
func kinds() map[string]stream {
	all := map[string]stream{"TCP4": tcp4(), "TCP6": tcp6(), "UDP4": udp4(), "UDP6": udp6()}
	for name, s := range all {
		tagged, double := s, s
		tagged.tags, double.tags = []uint16{7}, []uint16{100, 7}
		all[name+"/VLAN"], all[name+"/QinQ"] = tagged, double
		if !s.udp {
			s.options = timestamps(1, 2)
			all[name+"/options"] = s
		}
	}
	return all
}

func timestamps(value, echo uint32) []layers.TCPOption {
	data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, value), echo)
	return []layers.TCPOption{
		{OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindNop},
		{OptionType: layers.TCPOptionKindTimestamps, OptionData: data},
	}
}

func (s *stream) v6() bool { return s.src.Addr().Is6() }

// Where the headers are.
func (s *stream) l3() int { return 14 + 4*len(s.tags) }

func (s *stream) l4() int {
	if s.v6() {
		return s.l3() + 40
	}
	return s.l3() + 20
}

func (s *stream) headers() int {
	if s.udp {
		return s.l4() + 8
	}
	options := 0
	for _, o := range s.options {
		if options++; o.OptionType > layers.TCPOptionKindNop {
			options += 1 + len(o.OptionData)
		}
	}
	return s.l4() + 20 + (options+3)/4*4
}

func (s *stream) checksumOffset() int {
	if s.udp {
		return 6
	}
	return 16
}

// frame is the stream's frame with a payload, complete and unpadded.
func (s *stream) frame(payload []byte) []byte {
	return s.link(s.packet(payload))
}

// packet is the IP packet.
func (s *stream) packet(payload []byte) []byte {
	if s.v6() {
		ip := s.ipv6()
		return s.serialize(ip, ip, payload)
	}
	ip := s.ipv4()
	return s.serialize(ip, ip, payload)
}

func (s *stream) protocol() layers.IPProtocol {
	if s.udp {
		return layers.IPProtocolUDP
	}
	return layers.IPProtocolTCP
}

func (s *stream) ipv4() *layers.IPv4 {
	ip := &layers.IPv4{
		Version: 4, TOS: s.tos, Id: s.id, TTL: s.ttl, Protocol: s.protocol(),
		SrcIP: s.src.Addr().AsSlice(), DstIP: s.dst.Addr().AsSlice(),
	}
	if s.df {
		ip.Flags = layers.IPv4DontFragment
	}
	return ip
}

func (s *stream) ipv6() *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, TrafficClass: s.tos, FlowLabel: s.label, HopLimit: s.ttl, NextHeader: s.protocol(),
		SrcIP: s.src.Addr().AsSlice(), DstIP: s.dst.Addr().AsSlice(),
	}
}

var complete = gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}

func (s *stream) serialize(ip gopacket.SerializableLayer, network gopacket.NetworkLayer, payload []byte) []byte {
	if !s.udp {
		tcp := s.tcp()
		must(tcp.SetNetworkLayerForChecksum(network))
		return serialize(complete, ip, tcp, gopacket.Payload(payload))
	}
	udp := &layers.UDP{SrcPort: layers.UDPPort(s.src.Port()), DstPort: layers.UDPPort(s.dst.Port())}
	must(udp.SetNetworkLayerForChecksum(network))
	packet := serialize(complete, ip, udp, gopacket.Payload(payload))
	field := packet[s.l4()-s.l3()+6:][:2]
	if s.noChecksum {
		field[0], field[1] = 0, 0
	} else if udp.Checksum == 0 {
		field[0], field[1] = 0xff, 0xff // RFC 768; gopacket leaves it at zero
	}
	return packet
}

func (s *stream) tcp() *layers.TCP {
	return &layers.TCP{
		SrcPort: layers.TCPPort(s.src.Port()), DstPort: layers.TCPPort(s.dst.Port()),
		Seq: s.seq, Ack: s.ack, Window: s.window, Options: s.options, Urgent: s.urgent, NS: s.nonceSum,
		FIN: s.flags&fin != 0, SYN: s.flags&syn != 0, RST: s.flags&rst != 0, PSH: s.flags&psh != 0,
		ACK: s.flags&ack != 0, URG: s.flags&urg != 0, ECE: s.flags&ece != 0, CWR: s.flags&cwr != 0,
	}
}

// link puts the Ethernet header and the tags in front of a packet.
func (s *stream) link(packet []byte) []byte {
	etherType := layers.EthernetTypeIPv4
	if s.v6() {
		etherType = layers.EthernetTypeIPv6
	}
	return ethernet(s.from, s.to, etherType, packet, s.tags...)
}

// ethernet builds a frame without the padding that gopacket adds.
func ethernet(from, to net.HardwareAddr, etherType layers.EthernetType, packet []byte, tags ...uint16) []byte {
	eth := &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: etherType}
	all := []gopacket.SerializableLayer{eth}
	for i, id := range tags {
		tag := &layers.Dot1Q{VLANIdentifier: id, Priority: 3, Type: etherType}
		if i == 0 {
			eth.EthernetType = layers.EthernetTypeDot1Q
		} else {
			eth.EthernetType = layers.EthernetTypeQinQ
			all[i].(*layers.Dot1Q).Type = layers.EthernetTypeDot1Q
		}
		all = append(all, tag)
	}
	all = append(all, gopacket.Payload(packet))
	return serialize(gopacket.SerializeOptions{}, all...)[:14+4*len(tags)+len(packet)]
}

func serialize(o gopacket.SerializeOptions, all ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	must(gopacket.SerializeLayers(buf, o, all...))
	return slices.Clone(buf.Bytes())
}

// super is the super-frame of a payload to be cut at size, as the kernel gives
// it: the checksum field holds the sum of the pseudo-header.
func (s *stream) super(payload []byte, size int) encap.Packet {
	return encap.Packet{Frame: s.partial(payload), GSO: encap.GSO{
		Type: s.gsoType(), Size: uint16(size), NeedsCsum: true,
		CsumStart: uint16(s.l4()), CsumOffset: uint16(s.checksumOffset()), HeaderLen: uint16(s.headers()),
	}}
}

// partial is the frame with its checksum still to be completed.
func (s *stream) partial(payload []byte) []byte {
	frame := s.frame(payload)
	binary.BigEndian.PutUint16(frame[s.l4()+s.checksumOffset():], s.pseudoSum(len(frame)-s.l4()))
	return frame
}

// pseudoSum is the folded sum of the pseudo-header (RFC 9293 §3.1, RFC 768,
// RFC 8200 §8.1) of length bytes of upper layer.
func (s *stream) pseudoSum(length int) uint16 {
	header := slices.Concat(s.src.Addr().AsSlice(), s.dst.Addr().AsSlice())
	header = binary.BigEndian.AppendUint32(header, uint32(length))
	header = append(header, 0, byte(s.protocol()))
	return naiveSum(header, 0)
}

func (s *stream) gsoType() encap.GSOType {
	switch {
	case s.udp:
		return encap.GSOUDP
	case s.v6():
		return encap.GSOTCP6
	}
	return encap.GSOTCP4
}

// segments are the frames that the super-frame stands for.
func (s *stream) segments(payload []byte, size int) (frames [][]byte) {
	part := *s
	for i := 0; i == 0 || i*size < len(payload); i++ {
		last := (i+1)*size >= len(payload)
		part.flags = s.flags
		if i > 0 {
			part.flags &^= cwr
		}
		if !last {
			part.flags &^= fin | psh
		}
		part.seq, part.id = s.seq+uint32(i*size), s.id+uint16(i)
		frames = append(frames, part.frame(payload[i*size:min(len(payload), (i+1)*size)]))
	}
	return frames
}

// naiveSum is the ones' complement sum of RFC 1071, word by word.
func naiveSum(b []byte, initial uint16) uint16 {
	sum := uint32(initial)
	for i, v := range b {
		if i%2 == 0 {
			sum += uint32(v) << 8
		} else {
			sum += uint32(v)
		}
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// text is a payload of n bytes no two words of which are alike.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + 1)
	}
	return b
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func parse(frame []byte) *encap.Layout {
	l := encap.ParseFrame(frame)
	return &l
}

// wantFrames compares frames byte by byte.
func wantFrames(t *testing.T, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("frame %d of %d differs:\ngot  %x\nwant %x", i, len(want), got[i], want[i])
		}
	}
}
