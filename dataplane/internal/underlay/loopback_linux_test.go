//go:build !portable

package underlay

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
)

// loopback is a flow to a port of this machine.
func loopback(s *Socket, a Account, port uint16) *Flow {
	f := flowTo(s, a, port)
	f.Remote = netip.AddrPortFrom(home(s.ipv6), port)
	return f
}

func home(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Loopback()
	}
	return netip.MustParseAddr("127.0.0.1")
}

// received is what a Receiver returned, copied.
type received struct {
	data    string
	segment int
	tos     uint8
	from    netip.Addr
}

// receiveAll waits for n messages.
func receiveAll(t *testing.T, r *Receiver, n int) (all []received) {
	t.Helper()
	err := lab.Eventually(5*time.Second, func() error {
		for {
			batch, err := r.Receive()
			if err != nil {
				return err
			}
			for _, d := range batch {
				all = append(all, received{string(d.Data), d.Segment, d.TOS, d.From})
			}
			if len(batch) == 0 && len(all) < n {
				return errors.New("too few messages")
			}
			if len(batch) == 0 {
				return nil
			}
		}
	})
	if err != nil || len(all) != n {
		t.Fatalf("%d messages, want %d: %v", len(all), n, err)
	}
	return all
}

// TestOffloadsEngage fails where UDP_SEGMENT or UDP_GRO silently do nothing: a
// run is sent as one message and arrives as one.
func TestOffloadsEngage(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := listenTest(t, ipv6)
		if err := r.SetGRO(true); err != nil {
			t.Fatal(err)
		}
		s, book := NewSender(), &ledger{}
		flow := loopback(openTest(t, ipv6), book, r.port)
		var whole string
		for i := range byte(11) {
			d := filled(1000-int(i/10), i)
			s.Datagram(flow, d, len(d))
			whole += string(d)
		}
		s.Flush()
		got := receiveAll(t, r, 1)[0]
		if got.data != whole || got.segment != 1000 || got.from != home(ipv6) {
			t.Errorf("received %d bytes, segment %d, from %v; want %d, 1000", len(got.data), got.segment, got.from, len(whole))
		}
		if s.Sends.Load() != 1 || s.GSO.Load() != 1 || r.GRO.Load() != 1 || s.NoGSO {
			t.Errorf("%d calls, %d messages with UDP_SEGMENT, %d joined, switched off %v", s.Sends.Load(), s.GSO.Load(), r.GRO.Load(), s.NoGSO)
		}
		wantLedger(t, book, 11, 10999, 0)
	})
}

// TestWithoutGRO: the same run arrives as its datagrams, once UDP_GRO is off.
func TestWithoutGRO(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := listenTest(t, ipv6)
		if err := errors.Join(r.SetGRO(true), r.SetGRO(false)); err != nil {
			t.Fatal(err)
		}
		s := NewSender()
		want := runs(s, loopback(openTest(t, ipv6), &ledger{}, r.port), 5)
		s.Flush()
		for i, got := range receiveAll(t, r, 20) {
			if got.data != want[i].data || got.segment != 0 || int(got.tos) != want[i].tos {
				t.Errorf("datagram %d: %d bytes, segment %d, TOS %d; want %d bytes, TOS %d", i, len(got.data), got.segment, got.tos, len(want[i].data), want[i].tos)
			}
		}
		if r.GRO.Load() != 0 || s.GSO.Load() != 5 || s.Sends.Load() != 1 {
			t.Errorf("%d joined, %d messages with UDP_SEGMENT, %d calls", r.GRO.Load(), s.GSO.Load(), s.Sends.Load())
		}
	})
}

// TestSuperFrameArrives follows super-frames over real sockets: what comes out
// is the frames that they stand for.
func TestSuperFrameArrives(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := listenTest(t, ipv6)
		r.SetReceiveBuffer(8 << 20)
		if err := r.SetGRO(true); err != nil {
			t.Fatal(err)
		}
		s := NewSender()
		flow := loopback(openTest(t, ipv6), &ledger{}, r.port)
		want := queueSuper(t, s, flow, 5, 60000, 1400, 1)
		want = append(want, queueSuper(t, s, flow, 6, 10000, 100, 2)...)
		s.Flush()
		var got []wired
		for _, d := range receiveAll(t, r, 3) {
			for data := []byte(d.data); len(data) > 0; {
				n := encap.SplitDatagram(data, d.segment)
				got = append(got, wired{want[0].fd, want[0].to, -1, string(data[:n])})
				data = data[n:]
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d frames arrived, want %d, or one of them is another", len(got), len(want))
		}
	})
}

// TestAsAsked: the outer headers are what the Outer says.
func TestAsAsked(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := listenTest(t, ipv6)
		socket, s := openTest(t, ipv6), NewSender()
		for _, want := range []Outer{{}, {TOS: 0xb9}, {TTL: 7}, {TTL: 255, TOS: 3}, {Local: other(ipv6)}, {FlowLabel: 0xabcde, TOS: 4}} {
			if want.FlowLabel != 0 && !ipv6 {
				continue
			}
			flow := loopback(socket, &ledger{}, r.port)
			want.Remote = flow.Remote
			flow.Outer = want
			s.Datagram(flow, filled(100, 1), 100)
			s.Datagram(flow, filled(100, 2), 100)
			s.Flush()
			for range 2 {
				checkAsAsked(t, r, want)
			}
		}
	})
}

// other is another address of this machine.
func other(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Loopback()
	}
	return netip.MustParseAddr("127.0.0.77")
}

// checkAsAsked reads one datagram with all that the kernel tells about it.
func checkAsAsked(t *testing.T, r *Receiver, want Outer) {
	t.Helper()
	level, options := unix.IPPROTO_IP, []int{unix.IP_RECVTOS, unix.IP_RECVTTL}
	if r.ipv6 {
		const ipv6Flowinfo = 11
		level, options = unix.IPPROTO_IPV6, []int{unix.IPV6_RECVTCLASS, unix.IPV6_RECVHOPLIMIT, ipv6Flowinfo}
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(r.fd, level, o, 1); err != nil {
			t.Fatal(err)
		}
	}
	oob := make([]byte, 256)
	_, n, _, _, err := unix.Recvmsg(r.fd, make([]byte, 200), oob, unix.MSG_DONTWAIT)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	if want.TTL == 0 {
		want.TTL = 64
	}
	for _, m := range messages {
		checkMessage(t, m, want)
	}
	if len(messages) < 2 {
		t.Errorf("the kernel tells %d things", len(messages))
	}
}

func checkMessage(t *testing.T, m unix.SocketControlMessage, want Outer) {
	t.Helper()
	var got, wanted uint32
	switch {
	case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS:
		got, wanted = uint32(m.Data[0]), uint32(want.TOS)
	case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL,
		m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT:
		got, wanted = uint32(m.Data[0])|uint32(m.Data[3]), uint32(want.TTL) // either byte order
	case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_TCLASS:
		got, wanted = uint32(m.Data[0])|uint32(m.Data[3]), uint32(want.TOS)
	case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == 11: // IPV6_FLOWINFO, network byte order
		got, wanted = uint32(m.Data[1]&15)<<16|uint32(m.Data[2])<<8|uint32(m.Data[3]), want.FlowLabel
	}
	if got != wanted {
		t.Errorf("%+v: control message of type %d says %#x, want %#x", want, m.Header.Type, got, wanted)
	}
}

// TestSourceIsTold: the receiver learns the address that was asked for.
func TestSourceIsTold(t *testing.T) {
	r := listenTest(t, false)
	s := NewSender()
	flow := loopback(openTest(t, false), &ledger{}, r.port)
	flow.Local = other(false)
	queue(s, flow, filled(100, 1))
	s.Flush()
	if got := receiveAll(t, r, 1)[0].from; got != flow.Local {
		t.Errorf("from %v, want %v", got, flow.Local)
	}
}

// TestDeadPeer: the ICMP errors that a peer without a socket causes fail no
// datagram to another, nor to itself.
func TestDeadPeer(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := listenTest(t, ipv6)
		dead := freePorts(t, ipv6, 1)
		for name, socket := range map[string]*Socket{"own socket": openTest(t, ipv6), "listener": r.Socket} {
			s, lost, live := NewSender(), &ledger{}, &ledger{}
			for i := range 20 {
				queue(s, loopback(socket, lost, dead), filled(100, 0))
				s.Flush()
				queue(s, loopback(socket, live, r.port), filled(100, byte(i)))
				queue(s, loopback(socket, lost, dead), filled(100, 0))
				queue(s, loopback(socket, live, r.port), filled(100, byte(i)))
				s.Flush()
			}
			receiveAll(t, r, 40)
			wantLedger(t, live, 40, 4000, 0)
			if t.Failed() {
				t.Fatal(name)
			}
		}
	})
}

// TestAboveThePathMTU: a run whose datagrams the path carries only in fragments
// is sent all the same when it may be fragmented, and dropped when it may not.
func TestAboveThePathMTU(t *testing.T) {
	if lab.RunDir() == "" {
		t.Skip("needs a network of its own")
	}
	h := lab.TestHost(t, "small")
	if err := h.SetMTU("lo", 1500); err != nil {
		t.Fatal(err)
	}
	inHost := func(t *testing.T, ipv6 bool) (r *Receiver, socket *Socket) {
		if err := h.Do(func() error { r, socket = listenTest(t, ipv6), openTest(t, ipv6); return nil }); err != nil {
			t.Fatal(err)
		}
		return r, socket
	}
	families(t, func(t *testing.T, ipv6 bool) {
		r, socket := inHost(t, ipv6)
		for _, df := range []bool{false, true} {
			s, book := NewSender(), &ledger{}
			flow := loopback(socket, book, r.port)
			flow.DF = df
			for i := range byte(3) {
				queue(s, flow, filled(2000, i))
			}
			queue(s, flow, filled(1000, 3))
			s.Flush()
			want := 4
			if df || ipv6 {
				want = 1 // IPv6 never fragments, as the kernel's device
			}
			receiveAll(t, r, want)
			if book.frames != want || book.dropped != 4-want {
				t.Errorf("DF %v: booked %d sent, %d dropped; want %d, %d", df, book.frames, book.dropped, want, 4-want)
			}
			for _, why := range book.why {
				if !errors.Is(why, unix.EMSGSIZE) {
					t.Errorf("dropped for %v", why)
				}
			}
		}
	})
}

// TestRealOrder: whatever groups are made of them, datagrams of a socket
// arrive in order.
func TestRealOrder(t *testing.T) {
	r := listenTest(t, false)
	r.SetReceiveBuffer(8 << 20)
	s := NewSender()
	flow := loopback(openTest(t, false), &ledger{}, r.port)
	var want []wired
	for i := range 500 {
		flow.DF, flow.TOS = i/7%2 == 0, uint8(i/11%2*4)
		flow.Single = i/50%2 == 0
		want = append(want, queue(s, flow, filled(100+i/3%5, byte(i)))...)
	}
	s.Flush()
	for i, got := range receiveAll(t, r, 500) {
		if got.data != want[i].data {
			t.Fatalf("datagram %d is not the one that was sent then", i)
		}
	}
}
