//go:build !portable

package underlay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
)

// sizesOf are the lengths of the datagrams in each entry.
func sizesOf(entries []entry) (all [][]int) {
	for _, e := range entries {
		size := e.segment
		if size == 0 {
			size = max(1, len(e.data))
		}
		var sizes []int
		for part := range slices.Chunk(e.data, size) {
			sizes = append(sizes, len(part))
		}
		all = append(all, sizes)
	}
	return all
}

func repeat(n, size int) []int { return slices.Repeat([]int{size}, n) }

// TestRuns queues datagrams of some sizes and looks at how they are grouped.
func TestRuns(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int
		want  [][]int
	}{
		"equal":                  {repeat(5, 100), [][]int{repeat(5, 100)}},
		"one":                    {[]int{100}, [][]int{{100}}},
		"shorter last closes":    {[]int{100, 100, 60, 60, 60}, [][]int{{100, 100, 60}, {60, 60}}},
		"shorter second closes":  {[]int{100, 60, 100}, [][]int{{100, 60}, {100}}},
		"larger begins anew":     {[]int{100, 200, 200}, [][]int{{100}, {200, 200}}},
		"at most 64":             {repeat(130, 50), [][]int{repeat(64, 50), repeat(64, 50), {50, 50}}},
		"65th shorter":           {append(repeat(64, 50), 20), [][]int{repeat(64, 50), {20}}},
		"at most 65507 bytes":    {repeat(45, 1458), [][]int{repeat(44, 1458), {1458}}},
		"exactly 65507 bytes":    {repeat(13, 5039), [][]int{repeat(13, 5039)}},
		"any more than that":     {append(repeat(13, 5039), 1), [][]int{repeat(13, 5039), {1}}},
		"largest, one at a time": {repeat(2, 65507), [][]int{{65507}, {65507}}},
	} {
		s, k := script(t)
		flow := flowTo(fakeSocket(3), &ledger{}, 4789)
		var want []wired
		for i, n := range c.sizes {
			want = append(want, queue(s, flow, filled(n, byte(i)))...)
		}
		s.Flush()
		if got := sizesOf(k.entries()); !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%s: sent as %v, want %v", name, got, c.want)
		}
		wantWire(t, k, want)
	}
}

// TestRunsBreak: whatever the outer headers differ in, datagrams cannot share
// a message, and those that follow do not go back to an earlier one.
func TestRunsBreak(t *testing.T) {
	for name, edit := range map[string]func(*Flow){
		"remote address": func(f *Flow) { f.Remote = netip.AddrPortFrom(f.Remote.Addr().Next(), f.Remote.Port()) },
		"remote port":    func(f *Flow) { f.Remote = netip.AddrPortFrom(f.Remote.Addr(), 1) },
		"source":         func(f *Flow) { f.Local = netip.MustParseAddr("192.0.2.77") },
		"device":         func(f *Flow) { f.IfIndex = 1 },
		"TTL":            func(f *Flow) { f.TTL = 9 },
		"TOS":            func(f *Flow) { f.TOS = 4 },
		"ECN":            func(f *Flow) { f.TOS = 2 },
		"flow label":     func(f *Flow) { f.FlowLabel = 9 },
		"account":        func(f *Flow) { f.Account = &ledger{} },
	} {
		s, k := script(t)
		flow := flowTo(fakeSocket(3), &ledger{}, 4789)
		other := *flow
		edit(&other)
		want := slices.Concat(
			queue(s, flow, filled(50, 1), filled(50, 2)),
			queue(s, &other, filled(50, 3), filled(50, 4)),
			queue(s, flow, filled(50, 5), filled(50, 6)))
		s.Flush()
		pair := []int{50, 50}
		if got := sizesOf(k.entries()); !slices.EqualFunc(got, [][]int{pair, pair, pair}, slices.Equal) {
			t.Errorf("%s: sent as %v", name, got)
		}
		if len(k.calls) != 1 {
			t.Errorf("%s: %d system calls", name, len(k.calls))
		}
		wantWire(t, k, want)
	}
}

// TestRunsNever: what the kernel does not segment is never grouped, and no
// message of one datagram asks for it.
func TestRunsNever(t *testing.T) {
	for name, edit := range map[string]func(*Sender, *Flow){
		"without checksum": func(_ *Sender, f *Flow) { f.NoCsum, f.Socket.noCsum = true, true },
		"single":           func(_ *Sender, f *Flow) { f.Single = true },
		"switched off":     func(s *Sender, _ *Flow) { s.NoGSO = true },
	} {
		s, k := script(t)
		flow := flowTo(fakeSocket(3), &ledger{}, 4789)
		edit(s, flow)
		want := queue(s, flow, filled(50, 1), filled(50, 2), filled(50, 3))
		s.Flush()
		for _, e := range k.entries() {
			if e.segment != 0 || e.control != 0 {
				t.Errorf("%s: %v, %d bytes of control messages", name, &e, e.control)
			}
		}
		if len(k.calls) != 1 || len(k.calls[0]) != 3 || s.GSO.Load() != 0 {
			t.Errorf("%s: %d calls, %d messages with UDP_SEGMENT", name, len(k.calls), s.GSO.Load())
		}
		wantWire(t, k, want)
	}
}

// TestAdjacent: datagrams that lie one behind the other in one buffer, as a
// batch read from a device does, are one piece of memory.
func TestAdjacent(t *testing.T) {
	s, k := script(t)
	flow := flowTo(fakeSocket(3), &ledger{}, 4789)
	buffer := make([]byte, 1000)
	for i := range buffer {
		buffer[i] = byte(i / 100)
	}
	at := func(i int) []byte { return buffer[100*i : 100*i+100] } // uncapped
	want := slices.Concat(
		queue(s, flow, at(0), at(1), at(2)),          // adjacent
		queue(s, flow, at(4), at(5)),                 // a gap before
		queue(s, flow, at(7)[:100:100], at(8)),       // capped: not to be grown into
		queue(s, flow, buffer[0:100:150], at(1)),     // capped in the middle of what follows
		queue(s, flow, filled(100, 9), at(0), at(0))) // elsewhere, and twice the same
	s.Flush()
	entries := k.entries()
	if len(entries) != 1 || entries[0].iovecs != 9 {
		t.Errorf("%d messages, the first of %d pieces; want 1 of 9", len(entries), entries[0].iovecs)
	}
	wantWire(t, k, want)
}

// superFrame is a UDP super-frame of n bytes of payload, and what is expected
// on the wire for it.
func superFrame(t *testing.T, n, size int, mark byte) (*encap.Segments, []byte) {
	t.Helper()
	return cutUDP(t, udpHeaders(n, 0), n, size, mark)
}

func cutUDP(t *testing.T, headers []byte, n, size int, mark byte) (*encap.Segments, []byte) {
	t.Helper()
	start := uint16(len(headers) - 8)
	frame := append(headers, numbered(n, mark)...)
	p := &encap.Packet{Frame: frame, GSO: encap.GSO{Type: encap.GSOUDP, Size: uint16(size), NeedsCsum: true, CsumStart: start, CsumOffset: 6}}
	l := encap.ParseFrame(frame)
	segments, err := encap.CutSuperFrame(p, &l)
	if err != nil {
		t.Fatal(err)
	}
	return &segments, frame
}

// numbered is a payload whose parts are told apart.
func numbered(n int, mark byte) []byte {
	b := filled(n, mark)
	for i := range b {
		b[i] += byte(7*i + 13*(i>>8))
	}
	return b
}

// udpHeaders are Ethernet, IPv4 with bytes of options, and UDP in front of n bytes.
func udpHeaders(n, options int) []byte {
	h := make([]byte, 42+options)
	h[12], h[14], h[23] = 8, 0x45+byte(options/4), 17
	length := 28 + options + n
	h[16], h[17] = byte(length>>8), byte(length)
	copy(h[34:], bytes.Repeat([]byte{1}, options))
	h[38+options], h[39+options] = byte((8+n)>>8), byte(8+n)
	return h
}

// queueSuper queues a super-frame and returns its segments as datagrams.
func queueSuper(t *testing.T, s *Sender, f *Flow, vni uint32, n, size int, mark byte) (want []wired) {
	t.Helper()
	segments, frame := superFrame(t, n, size, mark)
	return queueSegments(s, f, vni, segments, frame)
}

func queueSegments(s *Sender, f *Flow, vni uint32, segments *encap.Segments, frame []byte) (want []wired) {
	s.SuperFrame(f, vni, segments, len(frame))
	for i := range segments.Count() {
		vxlan := encap.HeaderLen
		if f.Bare {
			vxlan = 0
		}
		d := make([]byte, vxlan+segments.HeaderLen())
		if !f.Bare {
			encap.PutHeader(d, vni)
		}
		d = append(d, segments.Put(i, d[vxlan:])...)
		want = append(want, wired{f.Socket.fd, f.Remote, -1, string(d)})
	}
	return want
}

// TestSuperFrames: a super-frame is one message as long as it fits one, its
// payload not copied.
func TestSuperFrames(t *testing.T) {
	for name, c := range map[string]struct {
		payload, size int
		entries       []int // datagrams in each
	}{
		"usual":           {40000, 1400, []int{29}},
		"one segment":     {1000, 1400, []int{1}},
		"empty":           {0, 1400, []int{1}},
		"one byte":        {1401, 1400, []int{2}},
		"small segments":  {100 * 100, 100, []int{64, 36}},
		"more than 65507": {65000, 1400, []int{45, 2}},
	} {
		s, k := script(t)
		book := &ledger{}
		flow := flowTo(fakeSocket(3), book, 4789)
		want := queueSuper(t, s, flow, 5, c.payload, c.size, 1)
		s.Flush()
		var entries []int
		for _, sizes := range sizesOf(k.entries()) {
			entries = append(entries, len(sizes))
		}
		if !slices.Equal(entries, c.entries) {
			t.Errorf("%s: sent as %v, want %v", name, entries, c.entries)
		}
		for _, e := range k.entries() {
			if e.iovecs > 2*64 {
				t.Errorf("%s: %d pieces of memory", name, e.iovecs)
			}
		}
		wantWire(t, k, want)
		wantLedger(t, book, 1, 42+c.payload, 0)
	}
}

// TestSegmentTooLarge: a segment that no datagram can hold is the kernel's to
// refuse.
func TestSegmentTooLarge(t *testing.T) {
	s, k := script(t)
	k.refuse = func(_ int, e *entry) unix.Errno {
		if len(e.data) > 65507 {
			return unix.EMSGSIZE
		}
		return 0
	}
	book := &ledger{}
	flow := flowTo(fakeSocket(3), book, 4789)
	queueSuper(t, s, flow, 5, 65507-42-encap.HeaderLen+1, 65535, 1)
	want := queueSuper(t, s, flow, 5, 65507-42-encap.HeaderLen, 65535, 2)
	s.Flush()
	wantWire(t, k, want)
	wantLedger(t, book, 1, 65507-encap.HeaderLen, 1)
}

// TestMixture queues datagrams and super-frames whose sizes meet, to some
// sockets in turn, for kernels that do and do not segment.
func TestMixture(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, k := script(t)
		if seed%3 == 0 {
			refuseSegments(k, r.IntN(10), unix.EIO)
		}
		book := &ledger{}
		flows := []*Flow{flowTo(fakeSocket(3), book, 4789), flowTo(fakeSocket(4), book, 4789), flowTo(fakeSocket(5), book, 4789)}
		flows[2].Single = true
		flows[0].Bare, flows[1].Bare = seed%2 == 0, seed%4 == 0
		var want []wired
		for i := range 40 {
			f, size := flows[r.IntN(3)], 40+20*r.IntN(3)
			if r.IntN(2) == 0 {
				want = append(want, queue(s, f, numbered(50+size, byte(i)))...) // 50: VXLAN, Ethernet, IP, UDP
			} else {
				want = append(want, queueSuper(t, s, f, 5, r.IntN(100*size), size, byte(i))...)
			}
		}
		s.Flush()
		wantWire(t, k, want)
		if book.frames != 40 || book.dropped != 0 {
			t.Fatalf("seed %d: booked %d sent, %d dropped", seed, book.frames, book.dropped)
		}
	}
}

// TestQueueFlushesWhenFull: more than there is memory for is sent in between,
// in order and without loss.
func TestQueueFlushesWhenFull(t *testing.T) {
	for name, c := range map[string]struct {
		times int
		fill  func(s *Sender, f *Flow, i int) []wired
	}{
		"messages": {300, func(s *Sender, f *Flow, i int) []wired { return queue(s, f, filled(50+i%100, byte(i))) }},
		"pieces":   {5000, func(s *Sender, f *Flow, i int) []wired { return queue(s, f, filled(50, byte(i))) }},
		"headers":  {200, func(s *Sender, f *Flow, i int) []wired { return queueSuper(t, s, f, 7, 2000, 100, byte(i)) }},
		"long headers": {60, func(s *Sender, f *Flow, i int) []wired {
			segments, frame := cutUDP(t, udpHeaders(4000, 40), 4000, 100, byte(i))
			return queueSegments(s, f, 7, segments, frame)
		}},
		"odd pieces": {40, func(s *Sender, f *Flow, i int) []wired {
			if f.Socket.fd == 4 {
				return nil // one socket alone can take all pieces
			}
			if i == 0 {
				return queue(s, f, filled(9, 9))
			}
			return queueSuper(t, s, f, 7, 6400, 100, byte(i))
		}},
		"all": {300, func(s *Sender, f *Flow, i int) []wired {
			return slices.Concat(queueSuper(t, s, f, 7, i, 50, byte(i)), queue(s, f, filled(9, 9)))
		}},
	} {
		s, k := script(t)
		book := &ledger{}
		a, b := flowTo(fakeSocket(3), book, 4789), flowTo(fakeSocket(4), book, 4789)
		var want []wired
		for i := range c.times {
			want = append(want, c.fill(s, a, i)...)
			if i%5 == 0 {
				want = append(want, c.fill(s, b, i)...)
			}
		}
		s.Flush()
		wantWire(t, k, want)
		if book.dropped != 0 {
			t.Errorf("%s: %d dropped", name, book.dropped)
		}
		for _, call := range k.calls {
			if len(call) > 64 {
				t.Errorf("%s: %d messages in one call", name, len(call))
			}
		}
	}
}

// TestFlushForgets: after Flush nothing is sent again, and the memory of what
// was sent is not looked at any more.
func TestFlushForgets(t *testing.T) {
	s, k := script(t)
	flow := flowTo(fakeSocket(3), &ledger{}, 4789)
	d := filled(100, 1)
	want := queue(s, flow, d, d)
	s.Flush()
	s.Flush()
	copy(d, filled(100, 2))
	want = append(want, queue(s, flow, d)...)
	s.Flush()
	wantWire(t, k, want)
	if len(k.calls) != 2 {
		t.Errorf("%d calls, want 2", len(k.calls))
	}
}

// TestOrder: datagrams of one socket leave as they were queued, whatever
// options they want; sockets do not wait for each other.
func TestOrder(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		s, k := script(t)
		var want []wired
		for i := range 3 {
			socket := openTest(t, ipv6)
			flow := flowTo(socket, &ledger{}, 4789)
			k.refuse = optionsAsAsked(t, ipv6)
			for n := range 20 {
				flow.DF, flow.NoCsum = n/3%2 == 0, n/5%2 == 0
				flow.TOS = optionMarks(flow)
				want = append(want, queue(s, flow, filled(60, byte(20*i+n)))...)
			}
		}
		s.Flush()
		wantWire(t, k, want)
	})
}

// optionMarks says in the TOS what the flow asks of the socket.
func optionMarks(f *Flow) uint8 { return uint8(4 + 8*b2i(f.DF) + 16*b2i(f.NoCsum)) }

// optionsAsAsked looks at the socket at the moment of the call.
func optionsAsAsked(t *testing.T, ipv6 bool) func(int, *entry) unix.Errno {
	return func(_ int, e *entry) unix.Errno {
		level, option := unix.SOL_SOCKET, unix.SO_NO_CHECK
		if ipv6 {
			level, option = unix.SOL_UDP, unix.UDP_NO_CHECK6_TX
		}
		noCsum := optionOf(t, e.fd, level, option)
		if want := e.tos & 16 / 16; noCsum != want {
			t.Errorf("no-checksum option is %d, want %d", noCsum, want)
		}
		if ipv6 {
			return 0
		}
		want := unix.IP_PMTUDISC_DONT
		if e.tos&8 != 0 {
			want = unix.IP_PMTUDISC_DO
		}
		if got := optionOf(t, e.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER); got != want {
			t.Errorf("path MTU discovery is %d, want %d", got, want)
		}
		return 0
	}
}

func optionOf(t *testing.T, fd, level, option int) int {
	t.Helper()
	v, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		t.Fatal(fmt.Errorf("option %d of level %d: %w", option, level, err))
	}
	return v
}

// openTest opens a socket on any free port, closed with the test.
func openTest(t *testing.T, ipv6 bool) *Socket {
	t.Helper()
	s, err := open(ipv6, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
