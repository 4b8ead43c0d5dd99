package conformance

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// junk makes datagrams that somebody hostile could send: random, cut short,
// forged. The same seed gives the same ones.
type junk struct {
	*rand.Rand
	good [][]byte // datagrams to be spoilt
}

func newJunk(t *testing.T, seed uint64) *junk {
	t.Helper()
	j := &junk{Rand: rand.New(rand.NewPCG(seed, 0))}
	for i, size := range []int{0, 100, 1300} {
		for _, ends := range [][2]string{{"10.20.1.3", "10.20.1.2"}, {"fd20::3", "fd20::2"}} {
			e := echo{
				srcMAC: mac("02:00:00:00:0d:01"), dstMAC: mac("02:00:00:00:0d:02"),
				src: netip.MustParseAddr(ends[0]), dst: netip.MustParseAddr(ends[1]), id: uint16(i),
			}
			frame := append(e.frame(t), make([]byte, size)...)
			tagged := append(append(append([]byte{}, frame[:12]...), 0x81, 0, 0, 42), frame[12:]...)
			j.good = append(j.good, vxlan(aloneVNI, frame), vxlan(aloneVNI, tagged), vxlan(aloneVNI, tcpFrame(t, e, size)))
		}
	}
	return j
}

// tcpFrame is a TCP segment between the ends of an echo request.
func tcpFrame(t *testing.T, e echo, size int) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: e.srcMAC, DstMAC: e.dstMAC, EthernetType: layers.EthernetTypeIPv4}
	tcp := &layers.TCP{SrcPort: 1000, DstPort: 2000, ACK: true, Window: 1000}
	if e.src.Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: e.src.AsSlice(), DstIP: e.dst.AsSlice()}
		check(t, tcp.SetNetworkLayerForChecksum(ip))
		return serialized(t, eth, ip, tcp, gopacket.Payload(make([]byte, size)))
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: e.src.AsSlice(), DstIP: e.dst.AsSlice()}
	check(t, tcp.SetNetworkLayerForChecksum(ip))
	return serialized(t, eth, ip, tcp, gopacket.Payload(make([]byte, size)))
}

// next appends one datagram.
func (j *junk) next(buf []byte) []byte {
	good := j.good[j.IntN(len(j.good))]
	switch j.IntN(8) {
	case 0:
		return j.random(buf, j.IntN(200))
	case 1:
		return j.random(append(buf, good[:8]...), j.IntN(100))
	case 2:
		return append(buf, good[:j.IntN(len(good)+1)]...)
	case 3:
		return j.spoil(append(buf, good...), 8) // the VXLAN header
	case 4:
		return j.spoil(append(buf, good...), len(good))
	case 5, 6:
		return j.spoil(append(buf, good...), min(len(good), 8+14+60)) // the inner headers
	}
	return append(buf, good...)
}

func (j *junk) random(buf []byte, n int) []byte {
	for range n {
		buf = append(buf, byte(j.Uint32()))
	}
	return buf
}

// spoil changes some of the first n bytes, often to an extreme.
func (j *junk) spoil(b []byte, n int) []byte {
	for range 1 + j.IntN(6) {
		b[j.IntN(n)] = [4]byte{0, 0xff, 0x80, byte(j.Uint32())}[j.IntN(4)]
	}
	return b
}
