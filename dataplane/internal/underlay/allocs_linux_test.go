//go:build !portable

package underlay

import (
	"testing"

	"golang.org/x/sys/unix"
)

func wantNoAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(20, f); n != 0 {
		t.Errorf("%s: %v allocations a call", what, n)
	}
}

// TestSendingDoesNotAllocate: not for single datagrams, not for runs, not for
// super-frames, whatever control messages they want.
func TestSendingDoesNotAllocate(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		s := NewSender()
		s.sys.sendmmsg = func(_ int, m []mmsghdr) (int, unix.Errno) { return len(m), 0 }
		socket := fakeSocket(3)
		socket.ipv6 = ipv6
		plain := flowTo(socket, &ledger{}, 4789)
		rich := *plain
		rich.TOS, rich.TTL, rich.IfIndex, rich.Local = 3, 9, 2, other(ipv6)
		segments, frame := superFrame(t, 20000, 200, 1) // more than one message
		d, short := filled(1400, 1), filled(20, 1)
		wantNoAllocs(t, "Datagram", func() {
			for i := range 200 { // so that it flushes in between too
				s.Datagram(plain, d, 1400)
				if i%3 == 0 {
					s.Datagram(&rich, short, 20)
				}
			}
			s.Flush()
		})
		wantNoAllocs(t, "SuperFrame", func() {
			for range 3 {
				s.SuperFrame(plain, 5, segments, len(frame))
				s.SuperFrame(&rich, 5, segments, len(frame))
			}
			s.Flush()
		})
	})
}

// TestReceivingDoesNotAllocate sends over real sockets, and receives.
func TestReceivingDoesNotAllocate(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r, s := listenTest(t, ipv6), NewSender()
		if err := r.SetGRO(true); err != nil {
			t.Fatal(err)
		}
		flow := loopback(openTest(t, ipv6), &ledger{}, r.port)
		flow.TOS = 2
		d, got := filled(1000, 1), 0
		wantNoAllocs(t, "Receive", func() {
			s.Datagram(flow, d, 1000)
			s.Datagram(flow, d, 1000)
			s.Flush()
			batch, err := r.Receive()
			if err != nil {
				t.Error(err)
			}
			got += len(batch)
		})
		if got == 0 {
			t.Error("nothing was received")
		}
	})
}
