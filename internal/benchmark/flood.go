//go:build linux

package benchmark

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// flood is datagrams of one size on their way from one socket to another, a
// thread at each, on different cores: those of two hosts never share one.
type flood struct {
	sockets  pairOfSockets
	outgoing *batch
	incoming *batch
}

// flooded is what came of a flood.
type flooded struct {
	sent, received int
	sending        time.Duration // that the sender sent
	receiving      time.Duration // until the last datagram was received
	busy           time.Duration // processor time of the whole machine
}

func (f flooded) lost() float64 {
	if f.sent == 0 {
		return 0
	}
	return 100 * float64(f.sent-f.received) / float64(f.sent)
}

// rate is how many datagrams a second were received.
func (f flooded) rate() float64 {
	if f.received == 0 {
		return 0
	}
	return float64(f.received) / max(f.sending, f.receiving).Seconds()
}

// A flood is over when nothing has come for quiet after the last was sent.
const (
	quiet     = 40 * time.Millisecond
	quietStep = 10 * time.Millisecond
)

func newFlood(w *Way, size int) (*flood, error) {
	sockets, err := connectUDP(w)
	if err != nil {
		return nil, err
	}
	if err := setWait(sockets.to, quietStep); err != nil {
		sockets.close()
		return nil, err
	}
	f := &flood{sockets, newBatch(size), newBatch(size)}
	f.outgoing.to(sockets.others)
	return f, nil
}

func (f *flood) close() { f.sockets.close() }

// run sends for a while, rate datagrams a second, or as many as go if rate is 0.
func (f *flood) run(rate float64, d time.Duration) (flooded, error) {
	m, err := startMeter()
	if err != nil {
		return flooded{}, err
	}
	var total atomic.Int64 // sent; -1 until that is known
	total.Store(-1)
	var out flooded
	start := time.Now()
	received := lab.OnCore(lab.LastCore, func() (err error) {
		out.received, out.receiving, err = f.receive(start, &total)
		return err
	})
	failed := <-lab.OnCore(lab.FirstCore, func() (err error) {
		// Of the 50 µs by which the kernel may prolong a nap; 1 ns is the least.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		out.sent, out.sending, err = f.send(start, rate, d)
		return err
	})
	total.Store(int64(out.sent))
	failed = errors.Join(failed, <-received)
	out.busy, err = m.read()
	return out, errors.Join(failed, err)
}

func (f *flood) send(start time.Time, rate float64, d time.Duration) (sent int, took time.Duration, err error) {
	clock := tokenClock{rate: rate}
	for took = 0; took < d; took = time.Since(start) {
		n := clock.due(took)
		if n == 0 {
			clock.nap()
			continue
		}
		n, err := f.outgoing.send(f.sockets.from, n)
		if err != nil {
			return sent, took, err
		}
		clock.spend(n)
		sent += n
	}
	return sent, took, nil
}

// receive counts what arrives until all did, or nothing more does.
func (f *flood) receive(start time.Time, total *atomic.Int64) (received int, last time.Duration, err error) {
	for {
		n, err := f.incoming.receive(f.sockets.to)
		now := time.Since(start)
		if n > 0 {
			received, last = received+n, now
		}
		sent := total.Load()
		switch {
		case err != nil:
			return received, last, err
		case sent < 0:
			if n == 0 {
				last = now // it is quiet because nothing was sent
			}
		case int64(received) >= sent, now-last > quiet:
			return received, last, nil
		}
	}
}

// tokenClock says when how many datagrams are due at a rate. What was not sent
// in time, because the machine had better to do, is sent later only up to a
// burst: it is the way that should lose, not the generator that should hurry.
type tokenClock struct {
	rate   float64 // a second; 0 = no limit
	tokens float64
	at     time.Duration
}

const (
	burst  = 2 * batchLen
	napMin = 50 * time.Microsecond
)

func (c *tokenClock) due(now time.Duration) int {
	if c.rate == 0 {
		return batchLen
	}
	c.tokens = min(burst, c.tokens+c.rate*(now-c.at).Seconds())
	c.at = now
	return min(int(c.tokens), batchLen)
}

func (c *tokenClock) spend(n int) { c.tokens -= float64(n) }

// nap sleeps until a datagram is due, and not much less than the kernel can.
func (c *tokenClock) nap() {
	untilDue := time.Duration((1 - c.tokens) / c.rate * float64(time.Second))
	ts := unix.NsecToTimespec(max(napMin, untilDue).Nanoseconds())
	_ = unix.Nanosleep(&ts, nil) // a signal may cut it short, which does not matter
}
