//go:build !portable

package tap

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/weftnet/weft/encap"
)

// TestPeersCannotDowngrade writes what a peer can make weft describe as a
// super-frame, with anything wrong about it. The kernel may refuse some; but
// one that it refused as a super-frame would switch super-frames off for good,
// and nobody who sends packets may be able to do that.
func TestPeersCannotDowngrade(t *testing.T) {
	h := quietHost(t, "a")
	d := upIn(t, h, false)
	var last encap.Packet
	d.OnDowngrade = func(err error) { t.Errorf("%v: %+v, %x", err, last.GSO, last.Frame[:min(200, len(last.Frame))]) }
	random := rand.New(rand.NewPCG(5, 6))
	supers := 0
	for range 3000 {
		frame := hostileFrame(random)
		l := encap.ParseFrame(frame)
		mtu := []int{68, 576, 1280, 1450, 9000}[random.IntN(5)]
		// What UDP_GRO joined are at most 64 datagrams, the segment size that of one.
		segment := []int{0, len(frame)/64 + 1, len(frame) / 2}[random.IntN(3)]
		last = encap.Packet{Frame: frame, GSO: encap.DescribeReceived(frame, &l, mtu, segment)}
		if last.GSO.Type != encap.GSONone {
			supers++
		}
		_ = d.Write(&encap.Coalesced{Packet: last}) // refused or not
		if !d.Offloads().TCP {
			return
		}
	}
	if supers < 500 {
		t.Errorf("only %d super-frames were among them", supers)
	}
}

// hostileFrame is a large frame with some bytes of its headers at random, and
// the checksum field that makes it look unfinished.
func hostileFrame(random *rand.Rand) []byte {
	size := []int{60, 1600, 9000, 60000}[random.IntN(4)]
	payload := make([]byte, random.IntN(size))
	frame := udpFrame(payload, 1)
	if random.IntN(2) == 0 {
		frame = tcpFrame(payload, 1, 1, true)
	}
	if random.IntN(3) == 0 {
		frame = bytes.Join([][]byte{frame[:12], {0x81, 0, 0, byte(random.IntN(3))}, frame[12:]}, nil)
	}
	for range random.IntN(4) {
		frame[random.IntN(min(54, len(frame)))] = byte(random.Uint32())
	}
	l := encap.ParseFrame(frame)
	if l.L4 == 0 {
		return frame
	}
	sum := uint32(l.Proto) + uint32(l.End-l.L4)
	for at := l.L3 + 12; at < l.L3+20; at += 2 {
		sum += uint32(binary.BigEndian.Uint16(frame[at:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	field := l.L4 + map[uint8]int{6: 16, 17: 6}[l.Proto]
	binary.BigEndian.PutUint16(frame[field:], uint16(sum))
	return frame
}
