//go:build linux

package benchmark

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// plainWire is the wire itself as a way.
func plainWire(t *testing.T) *Way {
	t.Helper()
	bed, err := NewBed(Modes()[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	w, err := bed.Lay(Path{Name: "veth", lay: layNothing})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func floodOf(t *testing.T, w *Way, size int) *flood {
	t.Helper()
	f, err := newFlood(w, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

// What the host's own counters say was sent and received is what is reported.
func TestFloodCountsAsTheKernelDoes(t *testing.T) {
	w := plainWire(t)
	f := floodOf(t, w, small)
	before, err := w.To.Host.Stats("eth0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.run(20_000, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	after, err := w.To.Host.Stats("eth0")
	if err != nil {
		t.Fatal(err)
	}
	arrived := int(after.RxPackets - before.RxPackets)
	if out.sent == 0 || out.received > out.sent || out.sent > arrived || arrived > out.sent+20 {
		t.Errorf("%d sent, %d received; %d packets arrived", out.sent, out.received, arrived)
	}
	if most := 20_000/10 + burst; out.sent > most {
		t.Errorf("%d sent at 20000 a second in 100 ms, want at most %d", out.sent, most)
	}
}

// A receiver that has no room loses, and it shows.
func TestFloodNoticesLoss(t *testing.T) {
	f := floodOf(t, plainWire(t), large)
	if err := unix.SetsockoptInt(f.sockets.to, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	out, err := f.run(0, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if out.received == 0 || out.received >= out.sent || out.lost() <= 0 {
		t.Errorf("%d of %d received, %.1f %% lost", out.received, out.sent, out.lost())
	}
}

// A datagram of another size is not one of the flood's.
func TestFloodRefusesForeignDatagrams(t *testing.T) {
	f := floodOf(t, plainWire(t), small)
	if _, err := unix.Write(f.sockets.from, make([]byte, small+1)); err != nil {
		t.Fatal(err)
	}
	err := lab.Eventually(5*time.Second, func() error {
		n, err := f.incoming.receive(f.sockets.to)
		if err == nil && n == 0 {
			return unix.EAGAIN
		}
		if n > 0 {
			t.Error("it was counted")
		}
		if err == nil {
			t.Error("it was not refused")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Unanswered requests are lost, not waited for without end; late answers are
// not taken for the next.
func TestRoundTripsCountLoss(t *testing.T) {
	sockets, err := connectUDP(plainWire(t))
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.close()
	if err := setWait(sockets.from, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	a := asking{fd: sockets.from, request: make([]byte, small), answer: make([]byte, small+1)}
	if err := a.run(25 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if _, err := a.figures(); err == nil || a.asked < 2 {
		t.Errorf("%d asked, nobody answered, and there are figures", a.asked)
	}
	old := make([]byte, small) // number 0 was never asked
	if _, err := unix.Write(sockets.to, old); err != nil {
		t.Fatal(err)
	}
	if answered, err := a.await(); answered || err != nil {
		t.Errorf("an answer to another request: %v, %v", answered, err)
	}
}
