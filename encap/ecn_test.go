package encap_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

func layersType(t uint16) layers.EthernetType { return layers.EthernetType(t) }

// ECN codepoints.
const (
	not  = 0
	ect1 = 1
	ect0 = 2
	ce   = 3
	drop = 0xff
)

// decapped is what the inner field becomes, [inner][outer] (RFC 6040 §4.2).
var decapped = [4][4]uint8{
	not:  {not: not, ect1: not, ect0: not, ce: drop},
	ect1: {not: ect1, ect1: ect1, ect0: ect1, ce: ce},
	ect0: {not: ect0, ect1: ect1, ect0: ect0, ce: ce},
	ce:   {not: ce, ect1: ce, ect0: ce, ce: ce},
}

func TestDecapECN(t *testing.T) {
	for _, s := range []stream{tcp4(), udp4(), tcp6(), udp6()} {
		for inner, row := range decapped {
			for outer, want := range row {
				for _, dscp := range []uint8{0, 0xb8, 0xfc} {
					checkDecapECN(t, s, dscp|uint8(inner), dscp^0xfc|uint8(outer), want)
				}
			}
		}
	}
}

// checkDecapECN wants the frame to be that of a stream which had the field all
// along: its DSCP kept, its IPv4 header checksum right.
func checkDecapECN(t *testing.T, s stream, inner, outer, want uint8) {
	t.Helper()
	s.tos = inner
	frame := s.frame(text(20))
	err := encap.DecapECN(frame, parse(frame), outer)
	if want == drop {
		if !errors.Is(err, encap.ErrECN) {
			t.Errorf("inner TOS %#x, outer %#x: %v, want ErrECN", inner, outer, err)
		}
		return
	}
	s.tos = inner&^3 | want
	if err != nil || !bytes.Equal(frame, s.frame(text(20))) {
		t.Errorf("inner TOS %#x, outer %#x: %v\ngot  %x\nwant %x", inner, outer, err, frame, s.frame(text(20)))
	}
}

// The checksum is mended for any header, those with the rarest sums too.
func TestDecapECNMendsEveryChecksum(t *testing.T) {
	s := udp4()
	for id := range 1 << 16 {
		s.tos, s.id = ect0, uint16(id)
		frame := s.link(serialize(complete, s.ipv4(), gopacket.Payload(text(8))))
		if err := encap.DecapECN(frame, parse(frame), ce); err != nil {
			t.Fatal(err)
		}
		if sum := naiveSum(frame[14:34], 0); sum != 0xffff {
			t.Fatalf("IPv4 id %d: header sums to %#x after the mark was set", id, sum)
		}
	}
}

// Tagged frames and those that are not IP keep what they have, and are never
// dropped for it.
func TestDecapECNLeavesOthersAlone(t *testing.T) {
	tagged := tcp4()
	tagged.tags = []uint16{5}
	broken := new(tcp4()).frame(nil)
	broken[14] = 0x55 // IP version 5
	for name, frame := range map[string][]byte{
		"tagged": tagged.frame(text(5)), "ARP": arp(), "802.3": spanningTree(), "IP version 5": broken,
	} {
		for outer := range uint8(4) {
			got := bytes.Clone(frame)
			if err := encap.DecapECN(got, parse(got), outer); err != nil || !bytes.Equal(got, frame) {
				t.Errorf("%s, outer ECN %d: %v, changed: %v", name, outer, err, !bytes.Equal(got, frame))
			}
		}
	}
}

func TestOuterTOS(t *testing.T) {
	for _, dscp := range []uint8{0, 0x28, 0xb8, 0xfc, 0xff} {
		for inner, ecn := range map[uint8]uint8{not: not, ect1: ect1, ect0: ect0, ce: ect0} {
			for _, innerDSCP := range []uint8{0, 0x10, 0xfc} {
				want := dscp&0xfc | ecn
				if got := encap.OuterTOS(dscp, innerDSCP|inner); got != want {
					t.Errorf("DSCP %#x, inner TOS %#x: %#x, want %#x", dscp, innerDSCP|inner, got, want)
				}
			}
		}
	}
}

// TestInner reads TOS, TTL and DF back that a stream was built with.
func TestInner(t *testing.T) {
	for name, s := range kinds() {
		for _, df := range []bool{false, true} {
			s.tos, s.ttl, s.df = 0xb9, 37, df
			frame := s.frame(nil)
			l := parse(frame)
			wantDF := len(s.tags) == 0 && (df || s.v6())
			if tos, ttl, df := encap.InnerTOS(frame, l), encap.InnerTTL(frame, l), encap.InnerDF(frame, l); tos != 0xb9 || ttl != 37 || df != wantDF {
				t.Errorf("%s: TOS %#x, TTL %d, DF %v; want 0xb9, 37, %v", name, tos, ttl, df, wantDF)
			}
		}
	}
	frame := arp()
	if l := parse(frame); encap.InnerTOS(frame, l) != 0 || encap.InnerTTL(frame, l) != 0 || encap.InnerDF(frame, l) {
		t.Error("ARP has a TOS, TTL or DF")
	}
}
