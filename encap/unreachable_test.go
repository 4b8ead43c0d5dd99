package encap_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

// noRoute is NoRoute into memory that must not be written beyond the answer's
// most.
func noRoute(t *testing.T, packet []byte, src string) []byte {
	t.Helper()
	before := bytes.Clone(packet)
	room := bytes.Repeat([]byte{0xa5}, encap.NoRouteLen+16)
	l := encap.ParsePacket(packet)
	answer := encap.NoRoute(room[:0:encap.NoRouteLen], packet, &l, netip.MustParseAddr(src))
	if !bytes.Equal(room[encap.NoRouteLen:], bytes.Repeat([]byte{0xa5}, 16)) || !bytes.Equal(packet, before) {
		t.Error("written where nothing may be")
	}
	return answer
}

// TestNoRoute4Fields reads every field of an answer with gopacket.
func TestNoRoute4Fields(t *testing.T) {
	for _, size := range []int{0, 100, 60000} {
		s := udp4()
		packet := bare(s, text(size))
		answer := noRoute(t, packet, "10.9.0.0")
		p := decodeBare(answer)
		ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		icmp, _ := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		if ip == nil || icmp == nil {
			t.Fatalf("no ICMP error: %x", answer)
		}
		want := layers.IPv4{
			BaseLayer: ip.BaseLayer, Version: 4, IHL: 5, Length: 20 + 8 + 28, TTL: 8, Protocol: layers.IPProtocolICMPv4, Checksum: ip.Checksum,
			SrcIP: []byte{10, 9, 0, 0}, DstIP: s.src.Addr().AsSlice(),
		}
		if fmt.Sprint(*ip) != fmt.Sprint(want) || len(answer) != int(ip.Length) {
			t.Errorf("%+v, want %+v, in %d bytes", *ip, want, len(answer))
		}
		if icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 0) || icmp.Id != 0 || icmp.Seq != 0 || !bytes.Equal(icmp.Payload, packet[:28]) {
			t.Errorf("%v, %d, %d about %x", icmp.TypeCode, icmp.Id, icmp.Seq, icmp.Payload)
		}
		if naiveSum(ip.Contents, 0) != 0xffff || naiveSum(ip.Payload, 0) != 0xffff {
			t.Errorf("checksums sum to %#x, %#x", naiveSum(ip.Contents, 0), naiveSum(ip.Payload, 0))
		}
	}
}

// TestNoRoute4Options: the quotation has the whole header of the offender.
func TestNoRoute4Options(t *testing.T) {
	packet := bare(udp4(), text(50))
	packet = append(append(bytes.Clone(packet[:20]), 1, 1, 1, 0), packet[20:]...)
	edited(packet, 0, 0x46, 0, 0, byte(len(packet)))
	if answer := noRoute(t, packet, "10.9.0.0"); len(answer) != 20+8+32 || !bytes.Equal(answer[28:], packet[:32]) {
		t.Errorf("%x", answer)
	}
}

func TestNoRoute6Fields(t *testing.T) {
	for size, quoted := range map[int]int{0: 48, 100: 148, 60000: 1280 - 48} {
		s := udp6()
		packet := bare(s, text(size))
		answer := noRoute(t, packet, "fd00:9::")
		p := decodeBare(answer)
		ip, _ := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
		icmp, _ := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
		if ip == nil || icmp == nil {
			t.Fatalf("no ICMP error: %x", answer)
		}
		want := layers.IPv6{
			BaseLayer: ip.BaseLayer, Version: 6, Length: uint16(8 + quoted), NextHeader: layers.IPProtocolICMPv6, HopLimit: 64,
			SrcIP: netip.MustParseAddr("fd00:9::").AsSlice(), DstIP: s.src.Addr().AsSlice(),
		}
		if fmt.Sprint(*ip) != fmt.Sprint(want) || len(answer) != 48+quoted {
			t.Errorf("%+v, want %+v, in %d bytes", *ip, want, len(answer))
		}
		if icmp.TypeCode != layers.CreateICMPv6TypeCode(1, 0) || !bytes.Equal(icmp.Payload[:4], make([]byte, 4)) || !bytes.Equal(icmp.Payload[4:], packet[:quoted]) {
			t.Errorf("%v about %x", icmp.TypeCode, icmp.Payload)
		}
		checkSum6(t, "answer", ip)
	}
}

// TestNoRouteNotDue lists what is not answered.
func TestNoRouteNotDue(t *testing.T) {
	four, six := bare(udp4(), text(50)), bare(udp6(), text(50))
	set := func(p []byte, at int, b ...byte) []byte { return edited(bytes.Clone(p), at, b...) }
	for name, c := range map[string]struct {
		packet []byte
		src    string
	}{
		"ICMP":                         {set(four, 9, 1), "10.9.0.0"},
		"later fragment":               {set(four, 6, 0x00, 1), "10.9.0.0"},
		"to a group":                   {set(four, 16, 224, 0, 0, 5), "10.9.0.0"},
		"to everybody":                 {set(four, 16, 255, 255, 255, 255), "10.9.0.0"},
		"from nobody":                  {set(four, 12, 0, 0, 0, 0), "10.9.0.0"},
		"from a group":                 {set(four, 12, 239, 1, 1, 1), "10.9.0.0"},
		"answer from another family":   {four, "fd00:9::"},
		"ICMPv6":                       {set(six, 6, 58), "fd00:9::"},
		"IPv6 to a group":              {set(six, 24, 0xff, 2), "fd00:9::"},
		"IPv6 from nobody":             {set(six, 8, make([]byte, 16)...), "fd00:9::"},
		"IPv6, answer from the other":  {six, "10.9.0.0"},
		"IPv6, cut off in a header":    {set(six, 6, 0)[:44], "fd00:9::"},
		"half a header":                {four[:19], "10.9.0.0"},
		"nothing":                      {nil, "10.9.0.0"},
		"no IP":                        {set(four, 0, 0x75), "10.9.0.0"},
		"IPv6 behind no header at all": {set(six, 6, 59), "fd00:9::"},
	} {
		if answer := noRoute(t, c.packet, c.src); len(answer) > 0 {
			t.Errorf("%s is answered: %x", name, answer)
		}
	}
	for name, packet := range map[string][]byte{"first fragment": set(four, 6, 0x20, 0), "IPv6": six} {
		src := "10.9.0.0"
		if packet[0]>>4 == 6 {
			src = "fd00:9::"
		}
		if len(noRoute(t, packet, src)) == 0 {
			t.Errorf("%s is not answered", name)
		}
	}
}

// FuzzNoRoute: whatever the bytes, an answer is in bounds, decodes, goes to whom
// the packet is from, and is not answered in turn.
func FuzzNoRoute(f *testing.F) {
	for _, s := range []stream{tcp4(), udp4(), tcp6(), udp6()} {
		f.Add(bare(s, text(1500)))
		f.Add(bare(s, text(3)))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, src := range []string{"10.9.0.0", "fd00:9::"} {
			answer := noRoute(t, packet, src)
			if len(answer) == 0 {
				continue
			}
			p := decodeBare(answer)
			if p.NetworkLayer() == nil || !bytes.Equal(p.NetworkLayer().NetworkFlow().Src().Raw(), netip.MustParseAddr(src).AsSlice()) {
				t.Fatalf("%x\nis answered by %x", packet, answer)
			}
			if again := noRoute(t, answer, src); len(again) > 0 {
				t.Fatalf("%x\nis answered by %x", answer, again)
			}
		}
	})
}
