package encap_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

// tooBig is TooBig into memory that must not be written beyond the answer's
// most.
func tooBig(t *testing.T, frame []byte, mtu int) []byte {
	t.Helper()
	before := bytes.Clone(frame)
	room := bytes.Repeat([]byte{0xa5}, encap.TooBigLen+16)
	answer := encap.TooBig(room[:0:encap.TooBigLen], frame, parse(frame), mtu)
	if !bytes.Equal(room[encap.TooBigLen:], bytes.Repeat([]byte{0xa5}, 16)) {
		t.Errorf("written beyond %d bytes", encap.TooBigLen)
	}
	if len(answer) > 0 && &answer[0] != &room[0] {
		t.Error("the answer is not in the caller's memory")
	}
	if !bytes.Equal(frame, before) {
		t.Error("the frame that does not fit was changed")
	}
	return answer
}

// TestTooBigFields reads every field of an answer with gopacket.
func TestTooBigFields(t *testing.T) {
	for name, s := range map[string]stream{"TCP4": tcp4(), "UDP4": udp4(), "TCP6": tcp6(), "UDP6": udp6()} {
		s.ttl, s.tos, s.label, s.options = 7, 0xb9, 0x12345, timestamps(1, 2)
		for _, size := range []int{1500, 600, 60000} {
			frame := s.frame(text(size))
			answer := tooBig(t, frame, 1450)
			if s.v6() {
				checkTooBig6(t, fmt.Sprintf("%s, %d bytes", name, size), &s, frame, answer, 1450)
			} else {
				checkTooBig4(t, fmt.Sprintf("%s, %d bytes", name, size), &s, frame, answer, 1450)
			}
		}
	}
}

// checkTooBig4 wants an ICMPv4 error about a stream's frame.
func checkTooBig4(t *testing.T, name string, s *stream, frame, answer []byte, mtu int) {
	t.Helper()
	p := gopacket.NewPacket(answer, layers.LayerTypeEthernet, gopacket.Default)
	ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	icmp, _ := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if ip == nil || icmp == nil || p.ErrorLayer() != nil {
		t.Fatalf("%s: no ICMP error: %x", name, answer)
	}
	checkAnswersLink(t, name, p, s, layers.EthernetTypeIPv4)
	quoted := frame[14:min(len(frame), 14+576-28)]
	wantHeader := layers.IPv4{
		BaseLayer: ip.BaseLayer, Version: 4, IHL: 5, Length: uint16(28 + len(quoted)), Flags: layers.IPv4DontFragment,
		TTL: s.ttl, Protocol: layers.IPProtocolICMPv4, Checksum: ip.Checksum, SrcIP: ip.SrcIP, DstIP: ip.DstIP,
	}
	if fmt.Sprint(*ip) != fmt.Sprint(wantHeader) || len(answer) != 14+int(ip.Length) {
		t.Errorf("%s: IP header %+v, want %+v, in %d bytes", name, *ip, wantHeader, len(answer))
	}
	checkAnswersAddresses(t, name, ip.SrcIP, ip.DstIP, s)
	want := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded)
	if icmp.TypeCode != want || icmp.Id != 0 || int(icmp.Seq) != mtu || !bytes.Equal(icmp.Payload, quoted) {
		t.Errorf("%s: %v, unused %d, MTU %d about %x, want %v, MTU %d about %x", name, icmp.TypeCode, icmp.Id, icmp.Seq, icmp.Payload, want, mtu, quoted)
	}
	if naiveSum(ip.Contents, 0) != 0xffff || naiveSum(ip.Payload, 0) != 0xffff {
		t.Errorf("%s: checksums sum to %#x, %#x", name, naiveSum(ip.Contents, 0), naiveSum(ip.Payload, 0))
	}
}

// checkTooBig6 wants an ICMPv6 error about a stream's frame.
func checkTooBig6(t *testing.T, name string, s *stream, frame, answer []byte, mtu int) {
	t.Helper()
	p := gopacket.NewPacket(answer, layers.LayerTypeEthernet, gopacket.Default)
	ip, _ := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	icmp, _ := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if ip == nil || icmp == nil || p.ErrorLayer() != nil {
		t.Fatalf("%s: no ICMP error: %x", name, answer)
	}
	checkAnswersLink(t, name, p, s, layers.EthernetTypeIPv6)
	quoted := frame[14:min(len(frame), 14+1280-48)]
	wantHeader := layers.IPv6{
		BaseLayer: ip.BaseLayer, Version: 6, Length: uint16(8 + len(quoted)), NextHeader: layers.IPProtocolICMPv6, HopLimit: s.ttl,
		SrcIP: ip.SrcIP, DstIP: ip.DstIP,
	}
	if fmt.Sprint(*ip) != fmt.Sprint(wantHeader) || len(answer) != 14+40+int(ip.Length) {
		t.Errorf("%s: IP header %+v, want %+v, in %d bytes", name, *ip, wantHeader, len(answer))
	}
	checkAnswersAddresses(t, name, ip.SrcIP, ip.DstIP, s)
	want := layers.CreateICMPv6TypeCode(layers.ICMPv6TypePacketTooBig, 0)
	if icmp.TypeCode != want || int(binary.BigEndian.Uint32(icmp.Payload)) != mtu || !bytes.Equal(icmp.Payload[4:], quoted) {
		t.Errorf("%s: %v about %x, want %v, MTU %d about %x", name, icmp.TypeCode, icmp.Payload, want, mtu, quoted)
	}
	checkSum6(t, name, ip)
}

// checkSum6 verifies an ICMPv6 checksum (RFC 4443 §2.3).
func checkSum6(t *testing.T, name string, ip *layers.IPv6) {
	t.Helper()
	pseudo := binary.BigEndian.AppendUint32(slices.Concat(ip.SrcIP, ip.DstIP), uint32(len(ip.Payload)))
	if sum := naiveSum(ip.Payload, naiveSum(append(pseudo, 0, 0, 0, 58), 0)); sum != 0xffff {
		t.Errorf("%s: ICMPv6 sums to %#x", name, sum)
	}
}

func checkAnswersLink(t *testing.T, name string, p gopacket.Packet, s *stream, etherType layers.EthernetType) {
	t.Helper()
	eth := p.LinkLayer().(*layers.Ethernet)
	if !bytes.Equal(eth.SrcMAC, s.to) || !bytes.Equal(eth.DstMAC, s.from) || eth.EthernetType != etherType {
		t.Errorf("%s: Ethernet header %+v", name, eth)
	}
}

func checkAnswersAddresses(t *testing.T, name string, src, dst []byte, s *stream) {
	t.Helper()
	if !bytes.Equal(src, s.dst.Addr().AsSlice()) || !bytes.Equal(dst, s.src.Addr().AsSlice()) {
		t.Errorf("%s: from %x to %x, to answer %v to %v", name, src, dst, s.src, s.dst)
	}
}

// edited is a frame with other bytes at an offset.
func edited(frame []byte, at int, with ...byte) []byte {
	copy(frame[at:], with)
	return frame
}

// addressed is a frame of the stream between other addresses.
func addressed(s stream, src, dst string) []byte {
	s.src = netip.AddrPortFrom(netip.MustParseAddr(src), 1)
	s.dst = netip.AddrPortFrom(netip.MustParseAddr(dst), 2)
	return s.frame(text(1500))
}

// TestTooBigNotDue: who is told, and who is not.
func TestTooBigNotDue(t *testing.T) {
	four, six := udp4(), udp6()
	f4, f6 := func() []byte { return four.frame(text(1500)) }, func() []byte { return six.frame(text(1500)) }
	mayFragment, tagged4, tagged6 := four, four, six
	mayFragment.df = false
	tagged4.tags, tagged6.tags = []uint16{5}, []uint16{5, 6}
	const a4, b4, a6, b6 = "10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"
	for name, c := range map[string]struct {
		frame []byte
		mtu   int
		due   bool
	}{
		"MTU 576":                  {f4(), 576, true},
		"MTU 575":                  {f4(), 575, false},
		"MTU 0":                    {f4(), 0, false},
		"MTU below 0":              {f6(), -5, false},
		"IPv6, MTU 1280":           {f6(), 1280, true},
		"IPv6, MTU 1279":           {f6(), 1279, false},
		"may be fragmented":        {mayFragment.frame(text(1500)), 1450, false},
		"first fragment":           {edited(f4(), 20, 0x60), 1450, false},
		"later fragment":           {edited(f4(), 20, 0x40, 1), 1450, false},
		"reserved flag":            {edited(f4(), 20, 0xc0), 1450, false},
		"tagged":                   {tagged4.frame(text(1500)), 1450, false},
		"double tagged":            {tagged6.frame(text(1500)), 1450, false},
		"ARP":                      {arp(), 1450, false},
		"802.3":                    {spanningTree(), 1450, false},
		"IPv4, other version":      {edited(f4(), 14, 0x65), 1450, false},
		"IPv6, other version":      {edited(f6(), 14, 0x40), 1450, false},
		"bare packet":              {f4()[14:], 1450, false},
		"to a group":               {addressed(four, a4, "224.0.0.1"), 1450, false},
		"to the last group":        {addressed(four, a4, "239.255.255.255"), 1450, false},
		"to class E":               {addressed(four, a4, "240.0.0.0"), 1450, true},
		"to broadcast":             {addressed(four, a4, "255.255.255.255"), 1450, false},
		"to loopback":              {addressed(four, a4, "127.0.0.1"), 1450, true},
		"to zero":                  {addressed(four, a4, "0.0.0.0"), 1450, true},
		"from zero":                {addressed(four, "0.0.0.0", b4), 1450, false},
		"from net zero":            {addressed(four, "0.0.0.1", b4), 1450, true}, // unicast since Linux 5.3 (96125bf9985a)
		"from loopback":            {addressed(four, "127.255.0.1", b4), 1450, false},
		"from a group":             {addressed(four, "232.1.1.1", b4), 1450, false},
		"from broadcast":           {addressed(four, "255.255.255.255", b4), 1450, false},
		"IPv6 to a group":          {addressed(six, a6, "ff02::1"), 1450, false},
		"IPv6 from a group":        {addressed(six, "ff0e::1", b6), 1450, false},
		"IPv6 from nobody":         {addressed(six, "::", b6), 1450, false},
		"IPv6 from loopback":       {addressed(six, "::1", b6), 1450, false},
		"IPv6 from ::2":            {addressed(six, "::2", b6), 1450, true},
		"IPv6 from link-local":     {addressed(six, "fe80::1", b6), 1450, true},
		"IPv6 fragment, first":     {withExtensions(&six, 44, text(1500), []byte{17, 0, 0, 1, 0, 0, 0, 9}), 1450, true},
		"IPv6 fragment, later":     {withExtensions(&six, 44, text(1500), []byte{17, 0, 0x05, 0xa8, 0, 0, 0, 9}), 1450, false},
		"no next header":           {edited(f6(), 20, 59), 1450, false},
		"unknown next header":      {edited(f6(), 20, 135), 1450, true},
		"extensions beyond packet": {withExtensions(&six, 60, text(1500), []byte{60, 255, 0, 0, 0, 0, 0, 0}), 1450, false},
	} {
		if answer := tooBig(t, c.frame, c.mtu); (len(answer) > 0) != c.due {
			t.Errorf("%s: answer of %d bytes, due: %v", name, len(answer), c.due)
		}
	}
}

// TestTooBigNotAboutErrors goes through all types of ICMP messages, plain and
// behind what may stand in front of them.
func TestTooBigNotAboutErrors(t *testing.T) {
	four, six := udp4(), udp6()
	errors4, errors6 := []byte{3, 4, 5, 11, 12}, []byte{1, 2, 3, 4, 137}
	chain := func(first byte, headers ...[]byte) []byte {
		return withExtensions(&six, first, text(1500), headers...)
	}
	authentication := []byte{58, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	firstFragment := []byte{58, 0, 0, 1, 0, 0, 0, 0}
	for name, c := range map[string]struct {
		frame  []byte
		at     int // the message's type
		errors []byte
	}{
		"ICMP":             {edited(four.frame(text(1500)), 23, 1), 34, errors4},
		"with IP options":  {edited(edited(four.frame(text(1500)), 14, 0x48), 23, 1), 46, errors4},
		"ICMPv6":           {edited(six.frame(text(1500)), 20, 58), 54, errors6},
		"hop by hop":       {chain(0, extension(58, 8)), 62, errors6},
		"several":          {chain(0, extension(43, 16), extension(60, 24), extension(58, 8)), 54 + 48, errors6},
		"authentication":   {chain(51, authentication), 70, errors6},
		"first fragment":   {chain(44, firstFragment), 62, errors6},
		"fragment of more": {chain(60, extension(44, 8), []byte{60, 0, 0, 1, 0, 0, 0, 0}, extension(58, 8)), 78, errors6},
	} {
		for kind := range 256 {
			c.frame[c.at] = byte(kind)
			due := !slices.Contains(c.errors, byte(kind))
			if answer := tooBig(t, c.frame, 1400); (len(answer) > 0) != due {
				t.Errorf("%s: type %d has an answer of %d bytes, due: %v", name, kind, len(answer), due)
			}
		}
	}
}

// TestTooBigTruncated cuts frames behind every byte: an answer quotes what is
// there, and there is none about ICMP whose type is cut off.
func TestTooBigTruncated(t *testing.T) {
	four, six := udp4(), udp6()
	for name, c := range map[string]struct {
		frame []byte
		least int
	}{
		"UDP4":             {four.frame(text(30)), 34},
		"ICMP":             {edited(edited(four.frame(text(30)), 23, 1), 34, 8), 35},
		"UDP6":             {six.frame(text(30)), 54},
		"ICMPv6":           {edited(edited(six.frame(text(30)), 20, 58), 54, 128), 55},
		"extension header": {withExtensions(&six, 60, text(30), extension(17, 24)), 62},
		"ICMPv6 behind it": {edited(withExtensions(&six, 60, text(30), extension(58, 24)), 78, 128), 79},
	} {
		for n := range len(c.frame) + 1 {
			answer, header := tooBig(t, c.frame[:n:n], 1450), 28
			if c.frame[14]>>4 == 6 {
				header = 48
			}
			if due := n >= c.least; due != (len(answer) > 0) || due && len(answer) != n+header {
				t.Errorf("%s, cut to %d bytes: answer of %d", name, n, len(answer))
			}
		}
	}
}

// TestTooBigAboutSuperFrame quotes the headers of the super-frame.
func TestTooBigAboutSuperFrame(t *testing.T) {
	four, six := tcp4(), tcp6()
	super := four.super(text(40000), 1448)
	checkTooBig4(t, "super-frame", &four, super.Frame, tooBig(t, super.Frame, 1450), 1450)
	super = six.super(text(40000), 1428)
	checkTooBig6(t, "super-frame", &six, super.Frame, tooBig(t, super.Frame, 1430), 1430)
}

func TestPacketLen(t *testing.T) {
	for name, s := range kinds() {
		headers := s.headers() - s.l3()
		single := encap.Packet{Frame: s.frame(text(700))}
		super := s.super(text(3000), 1000)
		short := s.super(text(300), 1000)
		for what, c := range map[string]struct {
			p    encap.Packet
			want int
		}{
			"frame":       {single, headers + 700},
			"padded":      {encap.Packet{Frame: append(s.frame(text(1)), make([]byte, 9)...)}, headers + 10},
			"super-frame": {super, headers + 1000},
			"one segment": {short, headers + 300},
		} {
			if got := encap.PacketLen(&c.p, parse(c.p.Frame)); got != c.want {
				t.Errorf("%s, %s: %d, want %d", name, what, got, c.want)
			}
		}
	}
	for _, c := range []struct {
		frame []byte
		want  int
	}{{arp(), 28}, {spanningTree(), 38}, {arp()[:14], 0}, {nil, 0}} {
		p := encap.Packet{Frame: c.frame}
		if got := encap.PacketLen(&p, parse(c.frame)); got != c.want {
			t.Errorf("%x: %d, want %d", c.frame, got, c.want)
		}
	}
	// What is said to be a super-frame and is none counts whole.
	odd := encap.Packet{Frame: arp(), GSO: encap.GSO{Type: encap.GSOTCP4, Size: 5}}
	if got := encap.PacketLen(&odd, parse(odd.Frame)); got != 28 {
		t.Errorf("super-frame of ARP: %d, want 28", got)
	}
}

// FuzzTooBig: whatever the bytes, an answer is in bounds, decodes, has right
// checksums, goes to whom the frame came from, and is not answered in turn.
func FuzzTooBig(f *testing.F) {
	for _, frame := range corpus() {
		f.Add(frame, 1450)
	}
	for _, s := range []stream{tcp4(), udp4(), tcp6(), udp6()} {
		f.Add(s.frame(text(1500)), 576)
		f.Add(s.frame(text(3)), 65535)
		f.Add(s.frame(text(1500)), 1<<30)
	}
	six := udp6()
	f.Add(withExtensions(&six, 0, text(1400), extension(44, 8), []byte{51, 0, 0, 1, 0, 0, 0, 9}, extension(58, 8)), 1280)
	f.Fuzz(func(t *testing.T, frame []byte, mtu int) {
		answer := tooBig(t, frame, mtu)
		if len(answer) == 0 {
			return
		}
		p := gopacket.NewPacket(answer, layers.LayerTypeEthernet, gopacket.Default)
		eth, network := p.LinkLayer().(*layers.Ethernet), p.NetworkLayer()
		if network == nil || !bytes.Equal(eth.DstMAC, frame[6:12]) || !bytes.Equal(eth.SrcMAC, frame[:6]) {
			t.Fatalf("%x\nis answered by %x", frame, answer)
		}
		switch ip := network.(type) {
		case *layers.IPv4:
			if naiveSum(ip.Contents, 0) != 0xffff || naiveSum(ip.Payload, 0) != 0xffff || int(ip.Length) != len(answer)-14 || len(answer) > 14+576 {
				t.Fatalf("%d bytes, length %d: %x", len(answer), ip.Length, answer)
			}
		case *layers.IPv6:
			if checkSum6(t, "answer", ip); int(ip.Length) != len(answer)-14-40 {
				t.Fatalf("%d bytes, length %d: %x", len(answer), ip.Length, answer)
			}
		}
		if again := tooBig(t, answer, mtu); len(again) > 0 {
			t.Fatalf("%x\nis answered by %x", answer, again)
		}
	})
}
