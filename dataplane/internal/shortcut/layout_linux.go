//go:build !portable

package shortcut

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// What a flow to be sent is found by, in network byte order but for the first
// and the last word:
//
//	 0        4      10     16       32       48      52
//	+--------+------+------+--------+--------+-------+-------+
//	| device | MAC destination, source | IP source, destination | ports | proto |
//	+--------+------+------+--------+--------+-------+-------+
//
// An IPv4 address is followed by zeros. What a device sends that carries IP packets
// has no MACs.
const (
	sendKeyLen = 56

	sendKeyDevice = 0
	sendKeyMAC    = 4
	sendKeySrc    = 16
	sendKeyDst    = 32
	sendKeyPorts  = 48
	sendKeyProto  = 52
)

// What is known of it, in the machine's byte order but for the headers. The
// first three words are the same for both kinds of flow.
const (
	flowGrant   = 0  // u64, the tag of its grant
	flowWaited  = 8  // u64, when a frame was last left to the process
	flowVersion = 16 // u64
	flowLink    = 24 // u32, offset of the link's slot
	flowIfIndex = 28 // u32, device to leave by

	sendInner   = 32 // u32, see innerWord
	sendMTU     = 36 // u32
	sendCsum    = 40 // u32, sum of all 16-bit words that the UDP checksum is of and that stay the same
	sendIPCsum  = 44 // u32, the same of the outer IPv4 header
	sendFlags   = 48 // u32
	sendNextHop = 52 // struct bpf_redir_neigh: u32 family, 0 for none, and 16 bytes of address
	sendRing    = 72 // u64, position in the ring behind what is there of the flow, 0 or ringUnknown; written by the program
	sendHeaders = 80 // outer headers and the inner Ethernet header, outerMax bytes

	outerMax = 88 // encap.EtherHeaderLen + 40 + 30, in words

	sendValueLen = sendHeaders + outerMax
)

const (
	flagIPv6   = 1 // the underlay
	flagNoCsum = 2
	flagUneven = 4 // super-frames may be sent without a checksum where it would not be that of all segments
)

// What a received packet is found by, all in network byte order. In place of
// VNI << 8 bare packets have bareVNI, and no MAC:
//
//	 0        16       32        36     38    40        46
//	+--------+--------+---------+------+-----+---------+-----+
//	| IP source, destination | VNI << 8 | port |  0  | inner MAC | 0 |
//	+--------+--------+---------+------+-----+---------+-----+
const (
	receiveKeyLen = 48

	receiveKeySrc  = 0
	receiveKeyDst  = 16
	receiveKeyVNI  = 32
	receiveKeyPort = 36
	receiveKeyMAC  = 40

	bareVNI = 1 // the low byte is 0 of any VNI; not negative in any byte order, as a jump compares it

	receiveQueue    = 32 // u32, offset of the socket's slot
	receiveMine     = 36 // u32, not 0 if frames have to be for the link's MAC
	receiveWhole    = 40 // u64, when a super-frame came last; written by the program
	receiveRuns     = 48 // u64, until when runs that were cut make up for others; written by the program
	receiveJoined   = 56 // u64, when a segment was last given to be joined; written by the program
	receiveValueLen = 64
)

// key returns what the flow of a frame is found by, and the word that all its
// frames have in common; false if it is none for a program.
func (s *Send) key() (key [sendKeyLen]byte, inner uint32, ok bool) {
	f, l := s.Frame, s.parse()
	if l.Tags > 0 || l.Fragment || l.L4 == 0 || l.L4-l.L3 != headerLen(l.Version) {
		return key, 0, false
	}
	binary.NativeEndian.PutUint32(key[sendKeyDevice:], uint32(s.Device))
	if s.Kind == Framed {
		copy(key[sendKeyMAC:], f[:12])
	}
	copy(key[sendKeyPorts:], f[l.L4:l.L4+4])
	binary.NativeEndian.PutUint32(key[sendKeyProto:], uint32(l.Proto))
	ip := f[l.L3:]
	if l.Version == 4 {
		copy(key[sendKeySrc:], ip[12:16])
		copy(key[sendKeyDst:], ip[16:20])
		return key, innerWord(ip[1], ip[8], binary.BigEndian.Uint16(ip[6:])), true
	}
	copy(key[sendKeySrc:], ip[8:24])
	copy(key[sendKeyDst:], ip[24:40])
	return key, innerWord(ip[0]<<4|ip[1]>>4, ip[7], 0), true
}

func (s *Send) parse() encap.Layout {
	if s.Kind == Bare {
		return encap.ParsePacket(s.Frame)
	}
	return encap.ParseFrame(s.Frame)
}

func headerLen(version uint8) int {
	if version == 6 {
		return 40
	}
	return 20
}

// innerWord holds what of an inner IP header the outer one may be made from, and
// so has to stay as it was in the flow's frames: DSCP, TTL, and the fragment bits
// of IPv4. The ECN bits may change.
func innerWord(tos, ttl uint8, fragment uint16) uint32 {
	return uint32(tos&0xfc) | uint32(ttl)<<8 | uint32(fragment)<<16
}

// value returns what is known of a flow to be sent.
func (s *Send) value(inner uint32, now uint64, g Grant) (v [sendValueLen]byte) {
	putFlow(v[:], now, g, s.Version, s.Link, s.IfIndex)
	put := binary.NativeEndian.PutUint32
	put(v[sendInner:], inner)
	put(v[sendMTU:], uint32(s.MTU))
	flags := uint32(0)
	if s.NoCsum {
		flags |= flagNoCsum | flagUneven
	}
	h := v[sendHeaders:]
	n := copy(h, s.Outer)
	if s.Kind != Bare {
		n += copy(h[n:], s.Frame[:encap.EtherHeaderLen])
	}
	if h[encap.EtherHeaderLen]>>4 == 6 {
		flags |= flagIPv6
		h[15] &^= 0x30
	} else {
		h[15] &^= 3
		if !s.Csum {
			flags |= flagUneven
		}
	}
	if s.Ring != nil {
		unknown := ringUnknown
		binary.NativeEndian.PutUint64(v[sendRing:], uint64(unknown))
	}
	put(v[sendFlags:], flags)
	s.putNextHop(v[sendNextHop:])
	put(v[sendCsum:], s.sum(h[:n]))
	put(v[sendIPCsum:], s.ipSum(h))
	return v
}

// ringUnknown is the position of a flow that was just told of: its former value may have
// been given another one while it was replaced. The program takes the end of the ring for it.
const ringUnknown = -1

// nextHopLen is the size of struct bpf_redir_neigh (linux/bpf.h).
const nextHopLen = 20

func (s *Send) putNextHop(b []byte) {
	if !s.NextHop.IsValid() {
		return
	}
	family := uint32(unix.AF_INET)
	if s.NextHop.Is6() {
		family = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(b, family)
	copy(b[4:], s.NextHop.AsSlice())
}

func putFlow(v []byte, now uint64, g Grant, version uint64, link *Slot, ifIndex int) {
	binary.NativeEndian.PutUint64(v[flowGrant:], g.tag)
	binary.NativeEndian.PutUint64(v[flowWaited:], now+uint64(settle))
	binary.NativeEndian.PutUint64(v[flowVersion:], version)
	binary.NativeEndian.PutUint32(v[flowLink:], uint32(link.offset()))
	binary.NativeEndian.PutUint32(v[flowIfIndex:], uint32(ifIndex))
}

func (s *Slot) offset() int { return s.index * slotWords * 8 }

// ipSum adds up the outer IPv4 header, and clears what the program fills in:
// length, identification and checksum.
func (s *Send) ipSum(h []byte) uint32 {
	ip := h[encap.EtherHeaderLen:]
	if ip[0]>>4 != 4 {
		return 0
	}
	clear(ip[2:6])
	clear(ip[10:12])
	return uint32(encap.Checksum(ip[:20], 0))
}

// sum adds up what the outer UDP checksum is of, as far as it is the same for
// all frames of the flow. What is left for the program are lengths, and of an
// inner IPv6 header what is not an address.
//
// A TCP or UDP packet whose checksum is right adds up, with its pseudo-header,
// to zero in ones' complement, and so does an IPv4 header. So nothing of the
// payload need be known, whether its checksum is there yet or will be filled in
// by a device.
func (s *Send) sum(h []byte) uint32 {
	ip := h[encap.EtherHeaderLen:]
	addresses, udp := ip[12:20], ip[20:]
	if ip[0]>>4 == 6 {
		addresses, udp = ip[8:40], ip[40:]
	}
	clear(udp[4:8])
	sum := uint32(encap.Checksum(addresses, 0)) + uint32(encap.Checksum(udp, 0)) + 17
	l := s.parse()
	minus := uint32(l.Proto)
	if l.Version == 4 {
		minus += uint32(encap.Checksum(s.Frame[l.L3+12:l.L3+20], 0))
	}
	return sum + uint32(^fold(minus))
}

// fold makes 16 bits of a sum in ones' complement.
func fold(sum uint32) uint16 {
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum)
}

// key returns what such packets are found by.
func (r *Receive) key() (key [receiveKeyLen]byte) {
	copy(key[receiveKeySrc:], r.From.AsSlice())
	copy(key[receiveKeyDst:], r.To.AsSlice())
	binary.BigEndian.PutUint16(key[receiveKeyPort:], r.Port)
	if r.Kind == Bare {
		binary.BigEndian.PutUint32(key[receiveKeyVNI:], bareVNI)
		return key
	}
	binary.BigEndian.PutUint32(key[receiveKeyVNI:], r.VNI<<8)
	copy(key[receiveKeyMAC:], r.Source[:])
	return key
}

func (r *Receive) value(now uint64, g Grant) (v [receiveValueLen]byte) {
	putFlow(v[:], now, g, r.Version, r.Link, r.Device)
	binary.NativeEndian.PutUint32(v[receiveQueue:], uint32(r.Queue.offset()))
	if r.Kind != Framed {
		binary.NativeEndian.PutUint32(v[receiveMine:], 1)
	}
	return v
}

// macWord is an address as a program loads it from a frame: four bytes and two.
func macWord(m routetable.MAC) uint64 {
	return uint64(binary.NativeEndian.Uint32(m[:4])) | uint64(binary.NativeEndian.Uint16(m[4:]))<<32
}
