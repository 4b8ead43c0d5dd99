package encap_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/encap"
)

// implementations runs a test with each way that Checksum has of adding up.
func implementations(t *testing.T, test func(t *testing.T)) {
	for name, vectors := range map[string]bool{"generic": false, "vectors": true} {
		if vectors && !encap.HasVectors() {
			continue
		}
		encap.WithVectors(vectors, func() { t.Run(name, test) })
	}
}

// TestChecksum compares every length up to 4096 at some alignments, and up to
// 320 at all that there are, with a loop over words.
func TestChecksum(t *testing.T) {
	implementations(t, func(t *testing.T) {
		for name, buffer := range buffers(5000) {
			for offset := range 64 {
				longest := 320
				if offset < 9 {
					longest = 4096
				}
				checkLengths(t, name, buffer[offset:], longest)
			}
		}
	})
}

// buffers have random bytes, and those that make the most and the least carries.
func buffers(n int) map[string][]byte {
	random := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random)
	all := map[string][]byte{"random": random}
	if !underRace {
		all["ones"] = bytes.Repeat([]byte{0xff}, n)
		all["zeros"] = make([]byte, n)
	}
	return all
}

// checkLengths tries the beginnings of b up to a length. Their naive sum grows:
// each byte is added once.
func checkLengths(t *testing.T, name string, b []byte, longest int) {
	t.Helper()
	var naive uint16
	for n := range longest + 1 {
		checkChecksum(t, name, b[:n], naive)
		if n%2 == 0 {
			naive = naiveSum([]byte{b[n]}, naive)
		} else {
			naive = naiveSum([]byte{0, b[n]}, naive)
		}
	}
}

// TestChecksumLarge tries what no packet reaches.
func TestChecksumLarge(t *testing.T) {
	implementations(t, func(t *testing.T) {
		for name, buffer := range buffers(1<<20 + 64) {
			for _, n := range []int{62000, 65507, 65535, 65536, 1<<20 - 1, 1 << 20} {
				for offset := 0; offset < 64; offset += 13 {
					b := buffer[offset : offset+n]
					checkChecksum(t, name, b, naiveSum(b, 0))
				}
			}
		}
	})
}

// checkChecksum tries initial values against the naive sum of b.
func checkChecksum(t *testing.T, name string, b []byte, naive uint16) {
	t.Helper()
	initials := []uint16{0, 1, 0x00ff, 0xff00, 0x8000, 0xfffe, 0xffff}
	if underRace {
		at := len(b) % len(initials)
		initials = initials[at : at+1]
	}
	for _, initial := range initials {
		want := naiveSum([]byte{byte(initial >> 8), byte(initial)}, naive)
		if got := encap.Checksum(b, initial); got != want {
			t.Fatalf("%s, %d bytes, initial %#04x: %#04x, want %#04x", name, len(b), initial, got, want)
		}
	}
}

func TestFinishChecksum(t *testing.T) {
	for name, s := range kinds() {
		for _, n := range []int{0, 1, 2, 7, 64, 1399, 1400} {
			p := s.super(text(n), 0)
			p.GSO.Type = encap.GSONone
			if err := encap.FinishChecksum(&p, parse(p.Frame)); err != nil {
				t.Fatalf("%s, %d bytes: %v", name, n, err)
			}
			if p.GSO != (encap.GSO{}) {
				t.Errorf("%s: what is left to do is %+v", name, p.GSO)
			}
			wantFrames(t, [][]byte{p.Frame}, [][]byte{s.frame(text(n))})
		}
	}
}

// summingToZero is a payload with which the checksum comes out as zero: the
// complement of everything else's sum.
func summingToZero(s *stream) []byte {
	frame := s.frame([]byte{0, 0})
	at := s.l4() + s.checksumOffset()
	return frame[at : at+2 : at+2]
}

// A computed UDP checksum of zero is sent as all ones (RFC 768); a TCP one is
// sent as it is.
func TestFinishChecksumZero(t *testing.T) {
	for name, s := range kinds() {
		payload := summingToZero(&s)
		p := s.super(payload, 0)
		if err := encap.FinishChecksum(&p, parse(p.Frame)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := []byte{0, 0}
		if s.udp {
			want = []byte{0xff, 0xff}
		}
		at := s.l4() + s.checksumOffset()
		if got := p.Frame[at : at+2]; !bytes.Equal(got, want) {
			t.Errorf("%s: checksum % x, want % x", name, got, want)
		}
	}
}

// What lies behind the IP packet is padding and does not count.
func TestFinishChecksumLeavesPaddingOut(t *testing.T) {
	s := udp4()
	padded := append(s.partial(text(3)), "padding"...)
	p := encap.Packet{Frame: padded, GSO: encap.GSO{NeedsCsum: true, CsumStart: uint16(s.l4()), CsumOffset: 6}}
	if err := encap.FinishChecksum(&p, parse(p.Frame)); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, [][]byte{p.Frame}, [][]byte{append(s.frame(text(3)), "padding"...)})
}

// A checksum of another protocol is completed where the description says.
func TestFinishChecksumOfICMPv6(t *testing.T) {
	s := tcp6()
	ip := s.ipv6()
	ip.NextHeader = layers.IPProtocolICMPv6
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
	must(icmp.SetNetworkLayerForChecksum(ip))
	body := gopacket.Payload(text(57))
	want := s.link(serialize(complete, ip, icmp, body))
	const field = 14 + 40 + 2
	pseudo := naiveSum(want[22:54], naiveSum([]byte{0, 61, 0, 58}, 0)) // 4 + 57 bytes of protocol 58
	frame := bytes.Clone(want)
	frame[field], frame[field+1] = byte(pseudo>>8), byte(pseudo)
	p := encap.Packet{Frame: frame, GSO: encap.GSO{NeedsCsum: true, CsumStart: 14 + 40, CsumOffset: 2}}
	if err := encap.FinishChecksum(&p, parse(frame)); err != nil {
		t.Fatal(err)
	}
	wantFrames(t, [][]byte{p.Frame}, [][]byte{want})
}

func TestFinishChecksumRefused(t *testing.T) {
	s := udp4()
	whole := s.partial(text(10))
	for name, gso := range map[string]encap.GSO{
		"field behind the packet":      {NeedsCsum: true, CsumStart: uint16(len(whole)), CsumOffset: 6},
		"field half behind the packet": {NeedsCsum: true, CsumStart: uint16(len(whole) - 7), CsumOffset: 6},
		"field in the padding":         {NeedsCsum: true, CsumStart: uint16(len(whole) - 4), CsumOffset: 6},
		"largest numbers":              {NeedsCsum: true, CsumStart: 0xffff, CsumOffset: 0xffff},
	} {
		frame := append(bytes.Clone(whole), make([]byte, 20)...)
		p := encap.Packet{Frame: bytes.Clone(frame), GSO: gso}
		if err := encap.FinishChecksum(&p, parse(p.Frame)); !errors.Is(err, encap.ErrGSO) {
			t.Errorf("%s: %v, want ErrGSO", name, err)
		}
		if !bytes.Equal(p.Frame, frame) || p.GSO != gso {
			t.Errorf("%s: changed although refused", name)
		}
	}
}
