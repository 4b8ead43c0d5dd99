package nodes

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// stream is numbered datagrams, ten thousand a second if the machine lets it,
// from one container to another. It is held up rather than let run into full
// queues, so that what is lost was lost by the network.
type stream struct {
	t        testing.TB
	from, to *net.UDPConn
	stop     chan struct{}
	got      atomic.Uint64

	done   chan struct{} // closed by send, whose these are until then
	sent   uint64
	took   time.Duration
	failed error

	ended              chan struct{} // closed by receive, whose these are until then
	next, gaps, behind uint64
}

const (
	perSecond = 10_000
	underway  = 256 // fits into the least queue on the way, a user's socket of 208 KB
	streamTag = 0x77656674
)

// startStream has got its first datagrams through when it returns.
func startStream(t testing.TB, from, to *lab.Host, at netip.Addr) *stream {
	t.Helper()
	s := &stream{t: t, stop: make(chan struct{}), done: make(chan struct{}), ended: make(chan struct{})}
	check(t, to.Do(func() (err error) {
		s.to, err = net.ListenUDP("udp4", &net.UDPAddr{IP: at.AsSlice()})
		return err
	}))
	check(t, from.Do(func() (err error) {
		s.from, err = net.DialUDP("udp4", nil, s.to.LocalAddr().(*net.UDPAddr))
		return err
	}))
	makeRoom(s.to)
	t.Cleanup(func() { s.from.Close(); s.to.Close() })
	go s.receive()
	go s.send()
	s.more(100)
	return s
}

// makeRoom is best effort: underway is chosen for what every user has.
func makeRoom(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
}

// send sends what is due by the clock, every millisecond.
func (s *stream) send() {
	defer close(s.done)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for s.failed == nil {
		select {
		case <-s.stop:
			s.took = time.Since(began)
			return
		case <-tick.C:
			s.burst(uint64(time.Since(began).Seconds() * perSecond))
		}
	}
}

func (s *stream) burst(due uint64) {
	var packet [16]byte
	binary.BigEndian.PutUint64(packet[:], streamTag)
	for ; s.sent < due && s.sent < s.got.Load()+underway; s.sent++ {
		binary.BigEndian.PutUint64(packet[8:], s.sent)
		if _, s.failed = s.from.Write(packet[:]); s.failed != nil {
			return
		}
	}
}

func (s *stream) receive() {
	defer close(s.ended)
	buf := make([]byte, 64)
	for {
		n, err := s.to.Read(buf)
		if err != nil {
			return
		}
		if n != 16 || binary.BigEndian.Uint64(buf) != streamTag {
			continue
		}
		switch seq := binary.BigEndian.Uint64(buf[8:]); {
		case seq < s.next: // a second time, or behind its successor
			s.behind++
		default:
			s.gaps += seq - s.next
			s.next = seq + 1
		}
		s.got.Add(1)
	}
}

// more waits until so many more have come through.
func (s *stream) more(n uint64) {
	s.t.Helper()
	n += s.got.Load()
	eventually(s.t, func() error {
		if got := s.got.Load(); got < n {
			return fmt.Errorf("%d datagrams have come through, want %d", got, n)
		}
		return nil
	})
}

// whole ends the stream, of which nothing may be lost, doubled or out of order.
func (s *stream) whole() {
	s.t.Helper()
	close(s.stop)
	<-s.done
	check(s.t, s.failed)
	err := lab.Eventually(soon, func() error {
		if got := s.got.Load(); got < s.sent {
			return fmt.Errorf("%d did not come through", s.sent-got)
		}
		return nil
	})
	s.to.Close()
	<-s.ended
	if err != nil || s.gaps != 0 || s.behind != 0 {
		s.t.Errorf("of %d datagrams %d were missing when the next came, and %d came late or twice: %v", s.sent, s.gaps, s.behind, err)
	}
	s.t.Logf("%d datagrams, %.0f a second", s.sent, float64(s.sent)/s.took.Seconds())
}
