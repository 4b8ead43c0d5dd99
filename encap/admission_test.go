package encap_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/encap"
)

// second is what follows the first frame of 100 bytes of a stream.
func second(s stream) stream {
	s.seq += 100
	s.id++
	return s
}

// TestCoalesceAdmission takes the second of two frames that would be joined
// and changes one thing about it at a time.
func TestCoalesceAdmission(t *testing.T) {
	for name, s := range map[string]stream{"TCP4": tcp4(), "TCP6": tcp6(), "UDP4": udp4(), "UDP6": udp6()} {
		if !s.udp {
			s.options = timestamps(10, 20)
		}
		for what, rule := range admission {
			if rule.only != "" && rule.only != name && rule.only != name[:3] && rule.only != "IPv"+name[3:] {
				continue
			}
			next := second(s)
			if rule.edit != nil {
				rule.edit(&next)
			}
			payload := 100
			if rule.payload != 0 {
				payload = rule.payload
			}
			frame := next.frame(text(payload))
			if rule.damage != nil {
				rule.damage(frame, &next)
			}
			checkPair(t, name+", "+what, s.frame(text(100)), frame, rule.joins)
		}
	}
}

// rule is one difference between two frames.
type rule struct {
	only    string                // TCP, UDP, IPv4, IPv6 or one kind; "" = all
	edit    func(*stream)         // what is different about the stream
	payload int                   // bytes; 0 = as the first
	damage  func([]byte, *stream) // to the finished frame
	joins   bool
}

var admission = map[string]rule{
	"nothing":        {joins: true},
	"shorter":        {payload: 99, joins: true},
	"PSH":            {only: "TCP", edit: func(s *stream) { s.flags |= psh }, joins: true},
	"longer":         {payload: 101},
	"TTL":            {edit: func(s *stream) { s.ttl-- }},
	"ECN":            {edit: func(s *stream) { s.tos |= ce }},
	"DSCP":           {edit: func(s *stream) { s.tos |= 0x28 }},
	"flow label":     {only: "IPv6", edit: func(s *stream) { s.label = 5 }},
	"DF cleared":     {only: "IPv4", edit: func(s *stream) { s.df = false }},
	"identification": {only: "IPv4", edit: func(s *stream) { s.id += 55 }, joins: true}, // means nothing with DF
	"sequence gap":   {only: "TCP", edit: func(s *stream) { s.seq++ }},
	"sequence again": {only: "TCP", edit: func(s *stream) { s.seq -= 100 }},
	"ack number":     {only: "TCP", edit: func(s *stream) { s.ack++ }},
	"window":         {only: "TCP", edit: func(s *stream) { s.window++ }},
	"urgent pointer": {only: "TCP", edit: func(s *stream) { s.urgent = 1 }},
	"option value":   {only: "TCP", edit: func(s *stream) { s.options = timestamps(11, 20) }},
	"fewer options":  {only: "TCP", edit: func(s *stream) { s.options = nil }},
	"shorter in all": {only: "TCP", edit: func(s *stream) { s.options = nil }, payload: 1},
	"FIN":            {only: "TCP", edit: func(s *stream) { s.flags |= fin }},
	"SYN":            {only: "TCP", edit: func(s *stream) { s.flags |= syn }},
	"RST":            {only: "TCP", edit: func(s *stream) { s.flags |= rst }},
	"URG":            {only: "TCP", edit: func(s *stream) { s.flags |= urg }},
	"ECE":            {only: "TCP", edit: func(s *stream) { s.flags |= ece }},
	"CWR":            {only: "TCP", edit: func(s *stream) { s.flags |= cwr }},
	"NS":             {only: "TCP", edit: func(s *stream) { s.nonceSum = true }},
	"no ACK":         {only: "TCP", edit: func(s *stream) { s.flags = psh }},
	"source port":    {edit: func(s *stream) { s.src = netip.AddrPortFrom(s.src.Addr(), 1) }},
	"destination":    {edit: func(s *stream) { s.dst = netip.AddrPortFrom(s.dst.Addr().Next(), s.dst.Port()) }},
	"source MAC":     {edit: func(s *stream) { s.from = net.HardwareAddr{2, 0, 0, 0, 0, 77} }},
	"tag":            {edit: func(s *stream) { s.tags = []uint16{7} }},
	"direction":      {edit: func(s *stream) { *s = reversed(*s) }},

	"no checksum":        {only: "UDP", edit: func(s *stream) { s.noChecksum = true }},
	"payload damaged":    {damage: func(f []byte, _ *stream) { corrupted(f) }},
	"header damaged":     {only: "IPv4", damage: func(f []byte, _ *stream) { f[24] ^= 1 }},
	"checksum damaged":   {damage: func(f []byte, s *stream) { f[s.l4()+s.checksumOffset()] ^= 1 }},
	"UDP length shorter": {only: "UDP", damage: shortenUDP},
}

// shortenUDP has the UDP header say less than the IP header, with checksums
// that are right for that.
func shortenUDP(frame []byte, s *stream) {
	udp := frame[s.l4():]
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)-1))
	udp[6], udp[7] = 0, 0
	binary.BigEndian.PutUint16(udp[6:], ^naiveSum(udp, s.pseudoSum(len(udp))))
}

// checkPair adds two frames and wants one or both back, and both unharmed.
func checkPair(t *testing.T, name string, first, next []byte, joins bool) {
	t.Helper()
	c := coalescer()
	add(c, first, next)
	made := c.Frames()
	if joined := len(made) == 1; joined != joins {
		t.Errorf("%s: joined %v, want %v", name, joined, joins)
		return
	}
	if !joins {
		wantFrames(t, [][]byte{made[0].Frame, made[1].Frame}, [][]byte{first, next})
		if made[0].GSO != (encap.GSO{}) || made[1].GSO != (encap.GSO{}) {
			t.Errorf("%s: %+v and %+v are left to be done", name, made[0].GSO, made[1].GSO)
		}
	}
}

// TestCoalesceIdentification lets only those IPv4 packets grow whose
// identifications count up, unless they must not be fragmented.
func TestCoalesceIdentification(t *testing.T) {
	for _, s := range []stream{tcp4(), udp4()} {
		for _, id := range []uint16{5, 0xffff} {
			for step, joins := range map[uint16]bool{0: false, 1: true, 2: false, 0xffff: false} {
				s.df, s.id = false, id
				next := second(s)
				next.id = id + step
				checkPair(t, "DF clear", s.frame(text(100)), next.frame(text(100)), joins)
			}
		}
		// It counts from the frame before, not from the first.
		s.id = 7
		frames := s.segments(text(300), 100)
		other := second(second(s))
		other.id = 8
		c := coalescer()
		add(c, frames[0], frames[1], other.frame(text(100)))
		if made := c.Frames(); len(made) != 2 {
			t.Errorf("identifications 7, 8, 8 became %d frames, want 2", len(made))
		}
	}
}

// TestCoalesceNotBehindOptions: options and extension headers
// are passed on as they are.
func TestCoalesceNotBehindOptions(t *testing.T) {
	six := udp6()
	extended := withExtensions(&six, 60, text(100), extension(17, 8))
	checkPair(t, "extension header", extended, extended, false)
	four := udp4()
	frame := four.frame(text(100))
	long := bytes.Join([][]byte{frame[:34], {1, 1, 1, 0}, frame[34:]}, nil)
	long[14] = 0x46
	binary.BigEndian.PutUint16(long[16:], uint16(len(long)-14))
	long[24], long[25] = 0, 0
	binary.BigEndian.PutUint16(long[24:], ^naiveSum(long[14:38], 0))
	checkPair(t, "IPv4 options", long, long, false)
}

// TestEveryHeaderBitCounts changes one bit of the second of two frames that
// would be joined, makes its checksums right again, and wants the two joined
// only if it was a bit that the segments of a super-frame may differ in.
func TestEveryHeaderBitCounts(t *testing.T) {
	for name, s := range kinds() {
		first, next := s.frame(text(100)), second(s)
		for bit := range 8 * s.headers() {
			at, mask := bit/8, byte(0x80>>(bit%8))
			if s.isChecksum(at) {
				continue
			}
			frame := next.frame(text(100))
			frame[at] ^= mask
			s.correct(frame)
			joins := s.mayDiffer(at, mask)
			checkPair(t, fmt.Sprintf("%s, byte %d, bit %#x", name, at, mask), first, frame, joins)
			c := coalescer()
			add(c, first)
			if extended := c.Extend(frame); extended != joins {
				t.Errorf("%s, byte %d, bit %#x: joined %v without a look at the layout, want %v", name, at, mask, extended, joins)
			}
		}
	}
}

// mayDiffer reports whether a bit may be another one in the next segment: of
// IPv4's identification, because the stream has DF, and PSH.
func (s *stream) mayDiffer(at int, mask byte) bool {
	id := s.l3() + 4
	return !s.v6() && (at == id || at == id+1) || !s.udp && at == s.l4()+13 && mask == psh
}

func (s *stream) isChecksum(at int) bool {
	ip, l4 := s.l3()+10, s.l4()+s.checksumOffset()
	return !s.v6() && (at == ip || at == ip+1) || at == l4 || at == l4+1
}

// correct computes the checksums of a frame whose headers are where the
// stream's are.
func (s *stream) correct(frame []byte) {
	ip, l4 := frame[s.l3():s.l4()], frame[s.l4():]
	addresses := ip[12:]
	if s.v6() {
		addresses = ip[8:]
	} else {
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^naiveSum(ip, 0))
	}
	pseudo := naiveSum(addresses, naiveSum([]byte{byte(len(l4) >> 8), byte(len(l4)), 0, byte(s.protocol())}, 0))
	field := l4[s.checksumOffset():][:2]
	field[0], field[1] = 0, 0
	binary.BigEndian.PutUint16(field, ^naiveSum(l4, pseudo))
}
