package interop

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"
)

// junk makes datagrams that somebody hostile could send. The same seed gives
// the same ones.
type junk struct {
	*rand.Rand
	seeds [][]byte // good datagrams, to be spoilt
}

func newJunk(t *testing.T, seed uint64) *junk {
	t.Helper()
	j := &junk{Rand: rand.New(rand.NewPCG(seed, 0))}
	for i, p := range []inner{
		{size: 0}, {size: 100}, {size: 1400}, {size: 3000},
		{size: 0, tcp: true}, {size: 1400, tcp: true}, {size: 4000, tcp: true},
		{size: 100, fragment: 80, more: true}, {size: 100, fragment: 80}, {size: 100, more: true},
	} {
		for _, v6 := range []bool{false, true} {
			p.v6, p.srcPort, p.dstPort = v6, 1000, 2000
			frame := p.frame(t, i)
			j.seeds = append(j.seeds, vxlan(5, frame), vxlan(5, tagged(frame, typeVLAN, 42)), vxlan(5, unfinished(frame, p)))
		}
	}
	return j
}

// unfinished is a frame whose transport checksum is left to be completed, as a
// sender on the same machine leaves it: with one that is larger than the MTU
// comes the claim to be a super-frame.
func unfinished(frame []byte, p inner) []byte {
	if p.fragment > 0 || p.more {
		return frame
	}
	ip, at, proto := frame[14+12:14+20], 14+20+6, layers.IPProtocolUDP
	if p.v6 {
		ip, at = frame[14+8:14+40], at+20
	}
	if p.tcp {
		at, proto = at+10, layers.IPProtocolTCP
	}
	sum := uint32(proto) + uint32(len(frame)-at)
	if sum += 6; p.tcp {
		sum += 10
	}
	for ; len(ip) > 0; ip = ip[2:] {
		sum += uint32(binary.BigEndian.Uint16(ip))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	frame = slices.Clone(frame)
	binary.BigEndian.PutUint16(frame[at:], uint16(sum))
	return frame
}

// next returns one datagram.
func (j *junk) next() []byte {
	switch seed := slices.Clone(j.seeds[j.IntN(len(j.seeds))]); j.IntN(8) {
	case 0:
		return j.bytes(j.IntN(1400))
	case 1:
		return append(vxlan(5, nil), j.bytes(j.IntN(100))...)
	case 2:
		return seed[:j.IntN(len(seed)+1)]
	case 3:
		return j.spoil(seed, 8) // the VXLAN header
	case 4:
		return j.spoil(seed, len(seed))
	case 5, 6:
		return j.spoil(seed, min(len(seed), 8+14+60)) // inner headers
	default:
		return seed
	}
}

func (j *junk) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(j.Uint32())
	}
	return b
}

// spoil changes some of the first n bytes, often to an extreme.
func (j *junk) spoil(b []byte, n int) []byte {
	for range 1 + j.IntN(6) {
		b[j.IntN(n)] = []byte{0, 0xff, 0x80, byte(j.Uint32())}[j.IntN(4)]
	}
	return b
}
