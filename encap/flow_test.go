package encap_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/encap"
)

func hashOf(frame []byte) uint32 { return encap.FlowHash(frame, parse(frame)) }

// reversed is the other direction of a stream.
func reversed(s stream) stream {
	s.src, s.dst, s.from, s.to = s.dst, s.src, s.to, s.from
	return s
}

// TestFlowHashIsTheFlow changes everything about a frame that is not its flow.
func TestFlowHashIsTheFlow(t *testing.T) {
	for name, s := range kinds() {
		want := hashOf(s.frame(text(10)))
		other := s
		other.from, other.to = net.HardwareAddr{2, 9, 9, 9, 9, 9}, net.HardwareAddr{2, 8, 8, 8, 8, 8}
		other.tags = append([]uint16{999}, s.tags[:len(s.tags)/2]...)
		other.ttl, other.tos, other.id, other.seq, other.flags, other.label = 3, 0x2e, 99, 1, psh|ack, 0xabcde
		for what, frame := range map[string][]byte{
			"other direction":  new(reversed(s)).frame(text(10)),
			"all but the flow": other.frame(text(900)),
			"padded":           append(s.frame(text(10)), 0, 0, 0),
		} {
			if got := hashOf(frame); got != want {
				t.Errorf("%s, %s: hash %#x, want %#x", name, what, got, want)
			}
		}
	}
}

// TestFlowHashSeparates changes one part of the flow at a time.
func TestFlowHashSeparates(t *testing.T) {
	for name, s := range kinds() {
		seen := map[uint32]string{}
		note := func(what string, frame []byte) {
			if have, found := seen[hashOf(frame)]; found {
				t.Errorf("%s: %s hashes as %s does", name, what, have)
			}
			seen[hashOf(frame)] = what
		}
		with := func(edit func(*stream)) []byte { c := s; edit(&c); return c.frame(text(10)) }
		note("the stream", s.frame(text(10)))
		note("other source port", with(func(c *stream) { c.src = netip.AddrPortFrom(c.src.Addr(), 40001) }))
		note("other destination port", with(func(c *stream) { c.dst = netip.AddrPortFrom(c.dst.Addr(), 444) }))
		note("other source", with(func(c *stream) { c.src = netip.AddrPortFrom(c.src.Addr().Prev(), 40000) }))
		note("other destination", with(func(c *stream) { c.dst = netip.AddrPortFrom(c.dst.Addr().Next(), c.dst.Port()) }))
		note("other protocol", with(func(c *stream) { c.udp, c.options = !c.udp, nil }))
		// Ports exchanged without the addresses is another flow, not the other direction.
		note("ports exchanged", with(func(c *stream) {
			c.src, c.dst = netip.AddrPortFrom(c.src.Addr(), c.dst.Port()), netip.AddrPortFrom(c.dst.Addr(), c.src.Port())
		}))
	}
}

// All fragments between two hosts share a hash: only the first has ports.
func TestFlowHashOfFragments(t *testing.T) {
	for _, s := range []stream{tcp4(), udp4(), tcp6(), udp6()} {
		var hashes []uint32
		for i, offset := range []uint16{0, 185, 370} {
			part := s
			part.src, part.dst = netip.AddrPortFrom(s.src.Addr(), uint16(i)), netip.AddrPortFrom(s.dst.Addr(), uint16(i*7))
			part.id = uint16(i)
			hashes = append(hashes, hashOf(fragment(&part, offset, i < 2)), hashOf(fragment(new(reversed(part)), offset, i < 2)))
		}
		for _, h := range hashes {
			if h != hashes[0] {
				t.Errorf("%v %v: fragments hash as %#x", s.src, s.protocol(), hashes)
				break
			}
		}
	}
}

// fragment marks a stream's frame as one fragment, at offset×8.
func fragment(s *stream, offset uint16, more bool) []byte {
	var m uint16
	if more {
		m = 1
	}
	if s.v6() {
		header := []byte{byte(s.protocol()), 0, 0, 0, 0, 0, 0, byte(s.id)}
		binary.BigEndian.PutUint16(header[2:], offset<<3|m)
		return withExtensions(s, 44, text(40), header)
	}
	frame := s.frame(text(40))
	binary.BigEndian.PutUint16(frame[s.l3()+6:], m<<13|offset)
	return frame
}

// Frames that are not IP hash by their type, behind tags too.
func TestFlowHashOfOtherTypes(t *testing.T) {
	s := tcp4()
	of := func(etherType uint16, from byte, n int, tags ...uint16) uint32 {
		mac := net.HardwareAddr{2, 0, 0, 0, 0, from}
		return hashOf(ethernet(mac, s.to, layersType(etherType), text(n), tags...))
	}
	arp := of(0x0806, 1, 28)
	if of(0x0806, 9, 46) != arp || of(0x0806, 1, 28, 100) != arp {
		t.Error("ARP frames differ by MAC address, length or tag")
	}
	if of(0x88cc, 1, 28) == arp || of(0x8847, 1, 28) == arp {
		t.Error("other types hash as ARP does")
	}
}

// A frame of IEEE 802.3 has its length where others have their type: frames of
// one conversation must not be told apart by their size.
func TestFlowHashOfLengthFrames(t *testing.T) {
	s := tcp4()
	want := hashOf(spanningTree())
	for _, n := range []int{3, 46, 500, 1500} {
		if got := hashOf(ethernet(s.from, s.to, layersType(uint16(n)), text(n))); got != want {
			t.Errorf("802.3 frame of %d bytes hashes as %#x, one of 38 as %#x", n, got, want)
		}
	}
}

// TestFlowHashSpreads wants 64 flows to meet at least 24 of 64 ports, chosen
// by the upper bits as a pool does, and of 64 slots, chosen by the lower.
func TestFlowHashSpreads(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for name, s := range kinds() {
		for what, vary := range map[string]func(i int) stream{
			"random":                  func(int) stream { return randomEnds(s, random) },
			"consecutive ports":       func(i int) stream { return withSource(s, s.src.Addr(), uint16(40000+i)) },
			"every second port":       func(i int) stream { return withSource(s, s.src.Addr(), uint16(40000+2*i)) },
			"consecutive addresses":   func(i int) stream { return withSource(s, nth(s.src.Addr(), i), s.src.Port()) },
			"consecutive both":        func(i int) stream { return withSource(s, nth(s.src.Addr(), i), uint16(40000+i)) },
			"destination ports":       func(i int) stream { return reversed(withSource(s, s.dst.Addr(), uint16(5000+i))) },
			"addresses, last of four": func(i int) stream { return withSource(s, nth(s.src.Addr(), 256*i), 40000) },
		} {
			upper, lower := map[uint64]bool{}, map[uint32]bool{}
			for i := range 64 {
				flow := vary(i)
				h := hashOf(flow.frame(nil))
				upper[uint64(h)*64>>32], lower[h%64] = true, true
			}
			if len(upper) < 24 || len(lower) < 24 {
				t.Errorf("%s, %s: 64 flows meet %d of 64 ports and %d of 64 slots", name, what, len(upper), len(lower))
			}
		}
	}
}

func withSource(s stream, a netip.Addr, port uint16) stream {
	s.src = netip.AddrPortFrom(a, port)
	return s
}

// nth is the n-th address behind a.
func nth(a netip.Addr, n int) netip.Addr {
	b := a.AsSlice()
	for i := len(b) - 1; n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	next, _ := netip.AddrFromSlice(b)
	return next
}

func randomEnds(s stream, random *rand.Rand) stream {
	end := func(a netip.Addr) netip.AddrPort {
		return netip.AddrPortFrom(nth(a, random.IntN(1<<16)), uint16(random.UintN(1<<16)))
	}
	s.src, s.dst = end(s.src.Addr()), end(s.dst.Addr())
	return s
}
