package encap_test

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

var (
	asker     = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x0a}
	senderMAC = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x0b} // in the message, where that says another than the frame
	neighbour = [6]byte{0x02, 0, 0, 0, 0, 0x0c}

	askerIP4, targetIP4 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	askerIP6, targetIP6 = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
)

// arpFor is an ARP request whose sender is not the frame's.
func arpFor(target netip.Addr, adjust func(*layers.ARP)) []byte {
	a := &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: senderMAC, SourceProtAddress: askerIP4.AsSlice(),
		DstHwAddress: []byte{9, 9, 9, 9, 9, 9}, DstProtAddress: target.AsSlice(),
	}
	if adjust != nil {
		adjust(a)
	}
	return ethernet(asker, layers.EthernetBroadcast, layers.EthernetTypeARP, serialize(gopacket.SerializeOptions{}, a))
}

// question is a neighbour solicitation.
type question struct {
	from, to, target netip.Addr
	class, hopLimit  uint8
	label            uint32
	options          layers.ICMPv6Options
	kind, code, next uint8
	behind           []byte // the message
}

func solicitation() question {
	return question{
		from: askerIP6, to: netip.MustParseAddr("ff02::1:ff00:2"), target: targetIP6, hopLimit: 255, kind: 135, next: 58,
		options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: senderMAC}},
	}
}

func (q question) frame() []byte {
	ip := &layers.IPv6{
		Version: 6, TrafficClass: q.class, FlowLabel: q.label, HopLimit: q.hopLimit, NextHeader: layers.IPProtocol(q.next),
		SrcIP: q.from.AsSlice(), DstIP: q.to.AsSlice(),
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(q.kind, q.code)}
	must(icmp.SetNetworkLayerForChecksum(ip))
	options := slices.Clone(q.options)
	slices.Reverse(options) // gopacket puts each in front of those before it
	packet := serialize(complete, ip, icmp, &layers.ICMPv6NeighborSolicitation{TargetAddress: q.target.AsSlice(), Options: options})
	return ethernet(asker, net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 2}, layers.EthernetTypeIPv6, append(packet, q.behind...))
}

// answer writes an answer into memory that must not be written beyond what an
// answer may have.
func answer(t *testing.T, frame []byte, write func(out []byte) []byte) []byte {
	t.Helper()
	before := bytes.Clone(frame)
	room := bytes.Repeat([]byte{0xa5}, encap.NeighbourReplyLen+16)
	got := write(room[:0:encap.NeighbourReplyLen])
	if !bytes.Equal(room[encap.NeighbourReplyLen:], bytes.Repeat([]byte{0xa5}, 16)) {
		t.Errorf("written beyond %d bytes", encap.NeighbourReplyLen)
	}
	if len(got) > 0 && &got[0] != &room[0] {
		t.Error("the answer is not in the caller's memory")
	}
	if !bytes.Equal(frame, before) {
		t.Error("the question was changed")
	}
	return got
}

func arpReply(t *testing.T, frame []byte) []byte {
	t.Helper()
	return answer(t, frame, func(out []byte) []byte { return encap.ARPReply(out, frame, neighbour) })
}

func advertisement(t *testing.T, frame []byte, router bool) []byte {
	t.Helper()
	return answer(t, frame, func(out []byte) []byte { return encap.NeighbourAdvertisement(out, frame, neighbour, router) })
}

// TestARPReplyFields reads every field with gopacket.
func TestARPReplyFields(t *testing.T) {
	request := arpFor(targetIP4, nil)
	for name, frame := range map[string][]byte{
		"request": request, "padded": append(bytes.Clone(request), make([]byte, 18)...),
		"IEEE 802":   arpFor(targetIP4, func(a *layers.ARP) { a.AddrType = 6 }),
		"gratuitous": arpFor(targetIP4, func(a *layers.ARP) { a.SourceProtAddress = targetIP4.AsSlice() }),
		"probe":      arpFor(targetIP4, func(a *layers.ARP) { a.SourceProtAddress = make([]byte, 4) }),
	} {
		if target, ok := encap.ParseSolicitation(frame); !ok || target != targetIP4 {
			t.Errorf("%s: asks for %v, %v", name, target, ok)
		}
		reply := arpReply(t, frame)
		p := gopacket.NewPacket(reply, layers.LayerTypeEthernet, gopacket.Default)
		eth, arp := p.LinkLayer().(*layers.Ethernet), p.Layer(layers.LayerTypeARP).(*layers.ARP)
		if !bytes.Equal(eth.DstMAC, senderMAC) || !bytes.Equal(eth.SrcMAC, neighbour[:]) || len(reply) != 42 {
			t.Errorf("%s: Ethernet header %+v of %d bytes", name, eth, len(reply))
		}
		asked := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeARP).(*layers.ARP)
		want := layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply,
			SourceHwAddress: neighbour[:], SourceProtAddress: targetIP4.AsSlice(), DstHwAddress: senderMAC, DstProtAddress: asked.SourceProtAddress,
		}
		if !bytes.Equal(arp.Contents, serialize(gopacket.SerializeOptions{}, &want)) {
			t.Errorf("%s: %+v, want %+v", name, arp, want)
		}
	}
}

// TestNeighbourAdvertisementFields reads every field with gopacket.
func TestNeighbourAdvertisementFields(t *testing.T) {
	long := make([]byte, 14) // a link-layer address option of two units
	copy(long, senderMAC)
	nonce := layers.ICMPv6Option{Type: 14, Data: make([]byte, 6)}
	for name, c := range map[string]struct {
		adjust func(*question)
		router bool
		to     net.HardwareAddr
	}{
		"option":         {nil, false, senderMAC},
		"router":         {nil, true, senderMAC},
		"no option":      {func(q *question) { q.options = nil }, false, asker},
		"other option":   {func(q *question) { q.options = layers.ICMPv6Options{nonce} }, false, asker},
		"behind another": {func(q *question) { q.options = append(layers.ICMPv6Options{nonce}, q.options...) }, false, senderMAC},
		"the first":      {func(q *question) { q.options = append(q.options, layers.ICMPv6Option{Type: 1, Data: asker}) }, false, senderMAC},
		"long option":    {func(q *question) { q.options[0].Data = long }, false, senderMAC},
		"odd byte":       {func(q *question) { q.options, q.behind = nil, []byte{0} }, false, asker},
		"DAD":            {func(q *question) { q.from, q.options = netip.IPv6Unspecified(), nil }, false, asker},
		"unicast":        {func(q *question) { q.to = targetIP6 }, false, senderMAC},
		"hop limit":      {func(q *question) { q.hopLimit = 1 }, false, senderMAC},
		"class, label":   {func(q *question) { q.class, q.label = 0xbf, 0xfffff }, false, senderMAC},
	} {
		q := solicitation()
		if c.adjust != nil {
			c.adjust(&q)
		}
		frame := q.frame()
		if target, ok := encap.ParseSolicitation(frame); !ok || target != targetIP6 {
			t.Errorf("%s: asks for %v, %v", name, target, ok)
		}
		checkAdvertisement(t, name, &q, advertisement(t, frame, c.router), c.router, c.to)
	}
}

func checkAdvertisement(t *testing.T, name string, q *question, got []byte, router bool, to net.HardwareAddr) {
	t.Helper()
	p := gopacket.NewPacket(got, layers.LayerTypeEthernet, gopacket.Default)
	ip, _ := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	icmp, _ := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	na, _ := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	if na == nil || p.ErrorLayer() != nil {
		t.Errorf("%s: no advertisement: %x", name, got)
		return
	}
	eth := p.LinkLayer().(*layers.Ethernet)
	if !bytes.Equal(eth.DstMAC, to) || !bytes.Equal(eth.SrcMAC, neighbour[:]) || len(got) != 86 {
		t.Errorf("%s: Ethernet header %+v of %d bytes, want it to %v", name, eth, len(got), to)
	}
	if ip.TrafficClass != q.class&0xf0 || ip.FlowLabel != 0 || ip.Length != 32 || ip.HopLimit != 255 || !ip.SrcIP.Equal(q.target.AsSlice()) || !ip.DstIP.Equal(q.from.AsSlice()) {
		t.Errorf("%s: IP header %+v", name, ip)
	}
	flags := uint8(0x60)
	if router {
		flags = 0xe0
	}
	option := layers.ICMPv6Option{Type: layers.ICMPv6OptTargetAddress, Data: neighbour[:]}
	if icmp.TypeCode != layers.CreateICMPv6TypeCode(136, 0) || na.Flags != flags || !na.TargetAddress.Equal(q.target.AsSlice()) ||
		len(na.Options) != 1 || na.Options[0].Type != option.Type || !bytes.Equal(na.Options[0].Data, option.Data) {
		t.Errorf("%s: %v, flags %#x, %+v", name, icmp.TypeCode, na.Flags, na)
	}
	checkSum6(t, name, ip)
}

// TestSolicitationsNotAnswered: malformed options have no answer.
func TestSolicitationsNotAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		options layers.ICMPv6Options
		behind  []byte
	}{
		"padding":             {nil, make([]byte, 2)},
		"length zero":         {nil, []byte{14, 0, 0, 0, 0, 0, 0, 0}},
		"cut off":             {nil, []byte{1, 1, 2, 0, 0, 0, 0}},
		"other, cut off":      {nil, []byte{14, 2, 2, 0, 0, 0, 0, 0}},
		"zero behind another": {layers.ICMPv6Options{{Type: 14, Data: make([]byte, 6)}}, []byte{1, 0}},
	} {
		q := solicitation()
		q.options, q.behind = c.options, c.behind
		if got := advertisement(t, q.frame(), false); len(got) > 0 {
			t.Errorf("%s: answered by %x", name, got)
		}
	}
}

// TestParseSolicitation: what a proxy keeps, and what it asks for then.
func TestParseSolicitation(t *testing.T) {
	arp := func(adjust func(*layers.ARP)) []byte { return arpFor(targetIP4, adjust) }
	ns := func(adjust func(*question)) []byte {
		q := solicitation()
		adjust(&q)
		return q.frame()
	}
	none := netip.Addr{}
	plainARP, plainNS := arp(nil), solicitation().frame()
	udp := udp6()
	for name, c := range map[string]struct {
		frame  []byte
		kept   bool
		target netip.Addr
	}{
		"ARP reply":          {arp(func(a *layers.ARP) { a.Operation = layers.ARPReply }), true, none},
		"reverse ARP":        {arp(func(a *layers.ARP) { a.Operation = 3 }), true, none},
		"other hardware":     {arp(func(a *layers.ARP) { a.AddrType = 7 }), true, none},
		"other protocol":     {arp(func(a *layers.ARP) { a.Protocol = layers.EthernetTypeIPv6 }), true, none},
		"long MAC":           {edited(arp(nil), 18, 8), true, none},
		"long address":       {edited(arp(nil), 19, 16), true, none},
		"for loopback":       {arpFor(netip.MustParseAddr("127.1.2.3"), nil), true, none},
		"for a group":        {arpFor(netip.MustParseAddr("224.0.0.1"), nil), true, none},
		"for broadcast":      {arpFor(netip.MustParseAddr("255.255.255.255"), nil), true, netip.MustParseAddr("255.255.255.255")},
		"for zero":           {arpFor(netip.IPv4Unspecified(), nil), true, netip.IPv4Unspecified()},
		"whole ARP":          {plainARP[:42], true, targetIP4},
		"cut ARP":            {plainARP[:41], true, none},
		"no ARP behind":      {plainARP[:14], true, none},
		"tagged ARP":         {slices.Insert(bytes.Clone(plainARP), 12, 0x81, 0, 0, 5), false, none},
		"tagged NS":          {slices.Insert(bytes.Clone(plainNS), 12, 0x88, 0xa8, 0, 5), false, none},
		"whole NS":           {plainNS[:78], true, targetIP6},
		"cut NS":             {plainNS[:77], false, none},
		"IPv6 header alone":  {plainNS[:54], false, none},
		"NA":                 {ns(func(q *question) { q.kind = 136 }), false, none},
		"NS code 1":          {ns(func(q *question) { q.code = 1 }), false, none},
		"NS in UDP":          {ns(func(q *question) { q.next = 17 }), false, none},
		"NS for a group":     {ns(func(q *question) { q.target = netip.MustParseAddr("ff02::1") }), true, none},
		"NS for loopback":    {ns(func(q *question) { q.target = netip.IPv6Loopback() }), true, netip.IPv6Loopback()},
		"NS to loopback":     {ns(func(q *question) { q.to = netip.IPv6Loopback() }), true, none},
		"NS for mapped IPv4": {ns(func(q *question) { q.target = netip.MustParseAddr("::ffff:10.0.0.2") }), true, netip.MustParseAddr("::ffff:10.0.0.2")},
		"behind hop by hop":  {withExtensionsIn(bytes.Clone(plainNS), 0, extension(58, 8)), false, none},
		"UDP":                {udp.frame(text(100)), false, none},
		"short frame":        {plainARP[:13], false, none},
		"nothing":            {nil, false, none},
	} {
		if target, kept := encap.ParseSolicitation(c.frame); kept != c.kept || target != c.target {
			t.Errorf("%s: kept %v, target %v, want %v, %v", name, kept, target, c.kept, c.target)
		}
	}
}

func TestNeighbourRepliesDoNotAllocate(t *testing.T) {
	arp, ns, out := arpFor(targetIP4, nil), solicitation().frame(), make([]byte, encap.NeighbourReplyLen)
	wantNoAllocs(t, "ARP", func() {
		if _, ok := encap.ParseSolicitation(arp); ok {
			encap.ARPReply(out, arp, neighbour)
		}
	})
	wantNoAllocs(t, "neighbour solicitation", func() {
		if _, ok := encap.ParseSolicitation(ns); ok {
			encap.NeighbourAdvertisement(out, ns, neighbour, true)
		}
	})
}

// FuzzSolicitation: whatever the bytes, an answer is in bounds, decodes, tells
// of the target, has a right checksum, and is not answered in turn.
func FuzzSolicitation(f *testing.F) {
	for _, frame := range corpus() {
		f.Add(frame)
	}
	f.Add(arpFor(targetIP4, nil))
	q := solicitation()
	f.Add(q.frame())
	q.behind = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 14, 0}
	q.options = append(layers.ICMPv6Options{{Type: 14, Data: make([]byte, 6)}}, q.options...)
	f.Add(q.frame())
	f.Fuzz(func(t *testing.T, frame []byte) {
		target, kept := encap.ParseSolicitation(frame)
		if target.IsValid() && !kept {
			t.Fatalf("a target of a frame that goes on: %x", frame)
		}
		if !target.IsValid() {
			return
		}
		got := arpOrAdvertisement(t, frame, target)
		if len(got) == 0 {
			return
		}
		p := gopacket.NewPacket(got, layers.LayerTypeEthernet, gopacket.Default)
		if eth := p.LinkLayer().(*layers.Ethernet); p.ErrorLayer() != nil || !bytes.Equal(eth.SrcMAC, neighbour[:]) {
			t.Fatalf("%x\nis answered by %x", frame, got)
		}
		if ip, ok := p.NetworkLayer().(*layers.IPv6); ok {
			checkSum6(t, "answer", ip)
		}
		if again, _ := encap.ParseSolicitation(got); again.IsValid() {
			t.Fatalf("%x asks for %v", got, again)
		}
	})
}

// arpOrAdvertisement answers, and wants the answer to be about the target.
func arpOrAdvertisement(t *testing.T, frame []byte, target netip.Addr) []byte {
	t.Helper()
	if target.Is4() {
		got := arpReply(t, frame)
		if !bytes.Equal(got[28:32], target.AsSlice()) {
			t.Fatalf("%x about %v", got, target)
		}
		return got
	}
	got := advertisement(t, frame, false)
	if len(got) > 0 && (!bytes.Equal(got[22:38], target.AsSlice()) || !bytes.Equal(got[62:78], target.AsSlice())) {
		t.Fatalf("%x about %v", got, target)
	}
	return got
}
