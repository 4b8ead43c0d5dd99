//go:build !portable

package underlay

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// sendTo sends one datagram to a port of this machine.
func sendTo(t *testing.T, from *Socket, port uint16, d []byte) {
	t.Helper()
	s, book := NewSender(), &ledger{}
	f := loopback(from, book, port)
	f.Single = true
	queue(s, f, d)
	if s.Flush(); book.frames != 1 {
		t.Fatalf("%d bytes to port %d: %v", len(d), port, book.why)
	}
}

// receiveSome waits until something was received.
func receiveSome(t *testing.T, r *Receiver) (batch []Datagram) {
	t.Helper()
	err := lab.Eventually(5*time.Second, func() (err error) {
		if batch, err = r.Receive(); err == nil && len(batch) == 0 {
			err = errors.New("nothing received")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// TestReceiveBounds: a call returns at most 64 messages. How many it asks for
// goes by the largest that the call before it found.
func TestReceiveBounds(t *testing.T) {
	r, from := listenTest(t, false), openTest(t, false)
	r.SetReceiveBuffer(8 << 20)
	for _, c := range []struct {
		size, messages int
		calls          []int
	}{
		{100, 100, []int{64, 36}},
		{65507, 1, []int{1}},
		{30000, 5, []int{1, 2, 2}},
		{200, 80, []int{2, 64, 14}},
	} {
		for i := range c.messages {
			sendTo(t, from, r.port, filled(c.size, byte(i)))
		}
		for _, want := range c.calls {
			if batch := receiveSome(t, r); len(batch) != want {
				t.Errorf("%d messages of %d bytes in one call, want %d", len(batch), c.size, want)
			}
		}
		if batch, err := r.Receive(); len(batch) != 0 || err != nil {
			t.Errorf("%d messages of %d bytes more, %v", len(batch), c.size, err)
		}
	}
}

// TestReceiveTellsAgain: a message about which the kernel had little to tell
// leaves room for more about the next one in its place, the last of all places
// too.
func TestReceiveTellsAgain(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r, from := listenTest(t, ipv6), openTest(t, ipv6)
		if err := r.SetGRO(true); err != nil {
			t.Fatal(err)
		}
		r.SetReceiveBuffer(8 << 20)
		for range maxReceive {
			sendTo(t, from, r.port, filled(100, 1))
		}
		for i := range receiveSome(t, r) {
			if d := &r.out[i]; d.Segment != 0 {
				t.Errorf("message %d of one datagram: segment %d", i, d.Segment)
			}
		}
		s := NewSender()
		f := loopback(from, &ledger{}, r.port)
		for i := range maxReceive {
			f.TOS = uint8(4 * (1 + i%2))
			queue(s, f, filled(200, 1), filled(200, 2))
			s.Flush()
		}
		batch := receiveSome(t, r)
		if len(batch) != maxReceive {
			t.Errorf("%d messages, want %d", len(batch), maxReceive)
		}
		for i, d := range batch {
			if d.Segment != 200 || d.TOS != uint8(4*(1+i%2)) {
				t.Errorf("message %d: segment %d, TOS %d", i, d.Segment, d.TOS)
			}
		}
	})
}

// TestReceiveNothing: an empty socket is not an error, and is not waited for.
func TestReceiveNothing(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := listenTest(t, ipv6)
		if batch, err := r.Receive(); len(batch) != 0 || err != nil {
			t.Errorf("%d messages, %v", len(batch), err)
		}
		if n := r.Calls.Load(); n != 1 {
			t.Errorf("%d calls are counted, want 1", n)
		}
		closed, err := Listen(ipv6, 0)
		if err != nil {
			t.Fatal(err)
		}
		closed.Close()
		if _, err := closed.Receive(); !errors.Is(err, unix.EBADF) {
			t.Errorf("closed socket: %v", err)
		}
	})
}

// TestReceiveSizes: every datagram comes whole, from none to the largest, and
// what is behind it in memory is no other's.
func TestReceiveSizes(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r, from := listenTest(t, ipv6), openTest(t, ipv6)
		largest := 65507
		if ipv6 {
			largest = 65536 - 48 // the loopback's MTU; nothing is fragmented
		}
		for _, n := range []int{0, 1, 8, 1500, largest} {
			sendTo(t, from, r.port, filled(n, 7))
			batch := receiveSome(t, r)
			if len(batch) != 1 || !bytes.Equal(batch[0].Data, filled(n, 7)) || cap(batch[0].Data) > receiveSize {
				t.Errorf("%d bytes came as %d", n, len(batch[0].Data))
			}
		}
	})
}

// TestReceiveForgets: nothing that the kernel told about one datagram is told
// of the next in the same place.
func TestReceiveForgets(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := listenTest(t, ipv6)
		if err := r.SetGRO(true); err != nil {
			t.Fatal(err)
		}
		s := NewSender()
		f := loopback(openTest(t, ipv6), &ledger{}, r.port)
		f.TOS = 0xb8
		queue(s, f, filled(100, 1), filled(100, 1))
		s.Flush()
		if got := receiveAll(t, r, 1)[0]; got.segment != 100 || got.tos != 0xb8 {
			t.Errorf("first: segment %d, TOS %#x", got.segment, got.tos)
		}
		f.TOS = 0
		queue(s, f, filled(100, 2))
		s.Flush()
		if got := receiveAll(t, r, 1)[0]; got.segment != 0 || got.tos != 0 || len(got.data) != 100 {
			t.Errorf("second: %d bytes, segment %d, TOS %#x", len(got.data), got.segment, got.tos)
		}
	})
}

// TestListen: one port can be held once in each family, and is free afterwards.
func TestListen(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		first := listenTest(t, ipv6)
		if _, err := Listen(ipv6, first.port); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("held port: %v", err)
		}
		second, err := Listen(!ipv6, first.port)
		if err != nil {
			t.Fatalf("other family: %v", err)
		}
		second.Close()
		if second, err = Listen(!ipv6, first.port); err != nil {
			t.Fatalf("after Close: %v", err)
		}
		second.Close()
	})
}

// TestReceiveBuffer: what is returned is what the socket has.
func TestReceiveBuffer(t *testing.T) {
	r := listenTest(t, false)
	for _, n := range []int{100000, 1 << 20} {
		got := r.SetReceiveBuffer(n)
		if has := optionOf(t, r.fd, unix.SOL_SOCKET, unix.SO_RCVBUF) / 2; got != has || got > n {
			t.Errorf("asked for %d, got %d, socket has %d", n, got, has)
		}
	}
}

// TestMemory: the kernel charges at least 512 bytes for a datagram, however small.
func TestMemory(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r, from := listenTest(t, ipv6), openTest(t, ipv6)
		for n := range uint32(40) {
			if m, err := r.Memory(); err != nil || m.Charged < 512*n || m.Charged > 8192*n {
				t.Fatalf("%d bytes are charged for %d datagrams, %v", m.Charged, n, err)
			}
			sendTo(t, from, r.port, filled(int(n%8), 1))
		}
	})
}

// TestDrops: what found the buffer full is counted, and what did not is received.
func TestDrops(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r, from := listenTest(t, ipv6), openTest(t, ipv6)
		if m, err := r.Memory(); m.Dropped != 0 || err != nil {
			t.Fatalf("%d drops at first, %v", m.Dropped, err)
		}
		r.SetReceiveBuffer(20000)
		for range 50 {
			sendTo(t, from, r.port, filled(4000, 1))
		}
		got := 0
		for batch, err := r.Receive(); err == nil && len(batch) > 0; batch, err = r.Receive() {
			got += len(batch)
		}
		m, err := r.Memory()
		if err != nil || got == 0 || got+int(m.Dropped) != 50 {
			t.Errorf("50 were sent, %d received, %d dropped, %v", got, m.Dropped, err)
		}
	})
}

// TestAcceptZeroChecksum: only IPv6 asks.
func TestAcceptZeroChecksum(t *testing.T) {
	r := listenTest(t, true)
	for _, on := range []bool{true, false} {
		if err := r.AcceptZeroChecksum(on); err != nil {
			t.Fatal(err)
		}
		if got := optionOf(t, r.fd, unix.SOL_UDP, unix.UDP_NO_CHECK6_RX); got != b2i(on) {
			t.Errorf("option is %d, want %v", got, on)
		}
	}
}

// TestListenAt: a socket on one address gets what is sent to that, leaves the
// port to others on other addresses, and sends from there.
func TestListenAt(t *testing.T) {
	here, there := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	r, err := ListenAt(false, here, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.port = portOf(t, r.Socket)
	if _, err := ListenAt(false, here, r.port); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("once more: %v", err)
	}
	second, err := ListenAt(false, there, r.port)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.port = r.port
	s, book := NewSender(), &ledger{}
	f := &Flow{Outer: Outer{Remote: netip.AddrPortFrom(here, r.port)}, Socket: second.Socket, Account: book}
	queue(s, f, filled(100, 1))
	s.Flush()
	batch := receiveSome(t, r)
	if len(batch) != 1 || batch[0].From != there {
		t.Errorf("received %v", batch)
	}
	if _, err := ListenAt(false, netip.MustParseAddr("192.0.2.1"), 0); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("on an address of nobody: %v", err)
	}
}
