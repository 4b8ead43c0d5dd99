//go:build !portable

package shortcut

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/routetable"
)

func le32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func le64(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }

// padded is an address in the room of an IPv6 one.
func padded(a netip.Addr) []byte { return append(a.AsSlice(), make([]byte, 16)...)[:16] }

// TestSendKey holds the keys of flows against what their frames were made of.
func TestSendKey(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		f, device, proto, df := randomFlow(r), int(r.Uint32()>>1), uint32(17), uint32(0)
		f.kind = Kind(i) % kinds
		if f.tcp {
			proto = 6
		}
		if f.df && f.src.Is4() {
			df = 0x4000
		}
		macs := slices.Concat(f.dstMAC[:], f.srcMAC[:])
		if f.kind != Framed {
			clear(macs) // the device's frames have none
		}
		want := slices.Concat(le32(uint32(device)), macs, padded(f.src), padded(f.dst),
			binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, f.srcPort), f.dstPort), le32(proto))
		for ecn := range uint8(4) {
			s := Send{Kind: f.kind, Frame: f.given(f.frame(t, ecn, make([]byte, r.IntN(9)))), Device: device}
			key, inner, ok := s.key()
			if !ok || string(key[:]) != string(want) {
				t.Fatalf("%+v: %v\n%x, want\n%x", f, ok, key, want)
			}
			if word := uint32(f.tos) | uint32(f.ttl)<<8 | df<<16; inner != word {
				t.Fatalf("%+v: inner word %#x, want %#x", f, inner, word)
			}
		}
	}
}

// TestSendKeyNone has frames that are no flow's: each is another protocol, or
// has something in it that the program does not look for.
func TestSendKeyNone(t *testing.T) {
	f := randomFlow(rand.New(rand.NewPCG(3, 4)))
	f.src, f.dst, f.tcp, f.df = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), false, false
	plain := f.frame(t, 0, make([]byte, 32))
	g := *f
	g.src, g.dst = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	plain6 := g.frame(t, 0, make([]byte, 32))
	with := func(frame []byte, at int, b ...byte) []byte {
		frame = slices.Clone(frame)
		copy(frame[at:], b)
		return frame
	}
	for name, frame := range map[string][]byte{
		"a tag":                   slices.Insert(slices.Clone(plain), 12, 0x81, 0, 0, 42),
		"ARP":                     with(plain, 12, 0x08, 0x06),
		"IPv4 with options":       with(plain, 14, 0x46),
		"ICMP":                    with(plain, 14+9, 1),
		"the first fragment":      with(plain, 14+6, 0x20),
		"a later fragment":        with(plain, 14+6, 0, 4),
		"IPv6 fragment":           with(plain6, 14+6, 44),
		"IPv6 hop-by-hop options": with(plain6, 14+6, 0),
		"ICMPv6":                  with(plain6, 14+6, 58),
		"nothing behind Ethernet": plain[:14],
	} {
		s := Send{Frame: frame}
		if key, _, ok := s.key(); ok {
			t.Errorf("%s is found by %x", name, key)
		}
	}
	for name, frame := range map[string][]byte{"IPv4": plain, "IPv6": plain6} {
		s := Send{Frame: frame}
		if _, _, ok := s.key(); !ok {
			t.Errorf("plain %s is none either", name)
		}
	}
}

// TestSendValue holds what a program is told of flows against what that was.
func TestSendValue(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 200 {
		f := randomFlow(r)
		f.kind = Kind(i) % kinds
		f.from, f.to = randomAddr(r, f.outer4), randomAddr(r, f.outer4)
		ecn := uint8(r.IntN(4))
		s := &Send{
			Kind: f.kind, Frame: f.given(f.frame(t, ecn, nil)), Link: &Slot{index: r.IntN(maxSlots)}, Version: r.Uint64(), Outer: f.outer(t, ecn),
			NoCsum: f.noCsum, Csum: r.IntN(2) == 0, MTU: r.IntN(1 << 16), IfIndex: int(r.Uint32() >> 1),
		}
		ring := uint64(0)
		if r.IntN(2) == 0 {
			s.Ring, ring = &Ring{}, math.MaxUint64
		}
		nextHop, family := make([]byte, 20), uint32(10)
		if r.IntN(2) == 0 {
			s.NextHop = randomAddr(r, r.IntN(2) == 0)
			if s.NextHop.Is4() {
				family = 2
			}
			nextHop = slices.Concat(le32(family), padded(s.NextHop))
		}
		v := s.value(0x1234, 1e15, Grant{tag: 1e10 + 7})
		flags := uint32(0)
		for _, one := range []struct {
			is   bool
			flag uint32
		}{{!f.outer4, 1}, {f.noCsum, 2}, {f.noCsum || f.outer4 && !s.Csum, 4}} {
			if one.is {
				flags |= one.flag
			}
		}
		want := slices.Concat(le64(1e10+7), le64(1e15+1e6), le64(s.Version), le32(uint32(64*s.Link.index)), le32(uint32(s.IfIndex)),
			le32(0x1234), le32(uint32(s.MTU)))
		if got := v[:40]; string(got) != string(want) {
			t.Fatalf("%x, want\n%x", got, want)
		}
		if got, want := v[48:80], slices.Concat(le32(flags), nextHop, le64(ring)); string(got) != string(want) {
			t.Fatalf("%s, want\n%s", hex.EncodeToString(got), hex.EncodeToString(want))
		}
		checkHeaders(t, f, v[80:])
	}
}

// checkHeaders wants those of the flow, without what each frame has of its own.
func checkHeaders(t *testing.T, f *flow, b []byte) {
	t.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.NoCopy)
	length := 14 + 40 + 8 + 8
	if f.outer4 {
		length -= 20
		ip := p.NetworkLayer().(*layers.IPv4)
		if ip.TOS != f.outerTOS || ip.TTL != f.outerTTL || ip.Id != 0 || ip.Checksum != 0 || b[16] != 0 || b[17] != 0 {
			t.Fatalf("%+v", ip)
		}
	} else if ip := p.NetworkLayer().(*layers.IPv6); ip.TrafficClass != f.outerTOS || ip.HopLimit != f.outerTTL || ip.FlowLabel != f.label^0xfffff {
		t.Fatalf("%+v", ip)
	}
	src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
	if string(src.Raw()) != string(f.from.AsSlice()) || string(dst.Raw()) != string(f.to.AsSlice()) {
		t.Fatalf("from %v to %v, want %v to %v", src, dst, f.from, f.to)
	}
	vxlan := []byte{8, 0, 0, 0, byte(f.vni >> 16), byte(f.vni >> 8), byte(f.vni), 0}
	want := slices.Concat(vxlan, f.dstMAC[:], f.srcMAC[:])
	if f.kind == Bare {
		clear(want)
	}
	if got := b[length-8 : length+12]; string(got) != string(want) {
		t.Fatalf("behind UDP %x, want %x", got, want)
	}
	udp := slices.Concat(binary.BigEndian.AppendUint16(nil, f.outerPort), []byte{4789 >> 8, 4789 & 0xff, 0, 0, 0, 0})
	if got := b[length-16 : length-8]; string(got) != string(udp) {
		t.Fatalf("UDP %x, want %x", got, udp)
	}
}

// TestReceiveKey holds the key of a station against the datagram of one of its
// frames, at the offsets that the program reads.
func TestReceiveKey(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 200 {
		f := randomFlow(r)
		f.kind = Kind(i) % kinds
		f.from, f.to = randomAddr(r, f.outer4), randomAddr(r, f.outer4)
		datagram := append(f.outer(t, 0), f.given(f.frame(t, 0, nil))...)
		at := 14 + 40
		if f.outer4 {
			at -= 20
		}
		vni, mac := datagram[at+12:at+16], datagram[at+22:at+28]
		if f.kind == Bare {
			vni, mac = []byte{0, 0, 0, 1}, make([]byte, 6) // no VNI ends like that
		}
		want := slices.Concat(padded(f.from), padded(f.to), vni, datagram[at+2:at+4], []byte{0, 0}, mac, []byte{0, 0})
		got := (&Receive{Kind: f.kind, From: f.from, To: f.to, Port: 4789, VNI: f.vni, Source: routetable.MAC(f.srcMAC)}).key()
		if string(got[:]) != string(want) {
			t.Fatalf("%+v: %x, want\n%x", f, got, want)
		}
	}
	for kind, mine := range map[Kind]uint32{Framed: 0, Routed: 1, Bare: 1} {
		v := (&Receive{Kind: kind, Link: &Slot{index: 3}, Queue: &Slot{index: 5}, Version: 9, Device: 77}).value(1e15, Grant{tag: 1e10 + 7})
		want := slices.Concat(le64(1e10+7), le64(1e15+1e6), le64(9), le32(3*64), le32(77), le32(5*64), le32(mine), le64(0), le64(0), le64(0))
		if string(v[:]) != string(want) {
			t.Errorf("value %x, want %x", v, want)
		}
	}
}
