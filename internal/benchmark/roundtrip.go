//go:build linux

package benchmark

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// roundTrips sends a datagram, waits for its answer, sends the next, and so on
// for half a round. The two ends are kept on different cores, as those of two
// hosts are: on one core the kernel's own path needs no other to wake up, and
// takes a tenth of the time or not, as the scheduler pleases.
func roundTrips(size int) func(*Way, time.Duration) (Figures, error) {
	return func(w *Way, round time.Duration) (Figures, error) {
		sockets, err := connectUDP(w)
		if err != nil {
			return nil, err
		}
		defer sockets.close()
		if err := errors.Join(setWait(sockets.from, answerLimit), setWait(sockets.to, quietStep)); err != nil {
			return nil, err
		}
		var stop atomic.Bool
		served := lab.OnCore(lab.LastCore, func() error { return answer(sockets.to, size, &stop) })
		asked := asking{fd: sockets.from, request: make([]byte, size), answer: make([]byte, size+1)}
		err = <-lab.OnCore(lab.FirstCore, func() error { return asked.run(round / 2) })
		stop.Store(true)
		if err := errors.Join(err, <-served); err != nil {
			return nil, err
		}
		return asked.figures()
	}
}

// answerLimit is how long an answer is waited for before it counts as lost.
const answerLimit = 200 * time.Millisecond

// answer sends back what comes.
func answer(fd, size int, stop *atomic.Bool) error {
	buf := make([]byte, size+1)
	for !stop.Load() {
		n, err := unix.Read(fd, buf)
		if err == nil {
			_, err = unix.Write(fd, buf[:n])
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("answering: %w", err)
		}
	}
	return nil
}

// asking is the end that asks.
type asking struct {
	fd              int
	request, answer []byte // the first eight bytes number them
	asked           uint64
	took            []time.Duration // of each answer
}

func (a *asking) run(d time.Duration) error {
	for start := time.Now(); time.Since(start) < d; {
		a.asked++
		binary.BigEndian.PutUint64(a.request, a.asked)
		begin := time.Now()
		if _, err := unix.Write(a.fd, a.request); err != nil {
			return fmt.Errorf("asking: %w", err)
		}
		answered, err := a.await()
		if err != nil {
			return err
		}
		if answered {
			a.took = append(a.took, time.Since(begin))
		}
	}
	return nil
}

// await reads until the answer to the last request comes: late ones to those
// before it are passed over.
func (a *asking) await() (answered bool, err error) {
	for {
		n, err := unix.Read(a.fd, a.answer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false, fmt.Errorf("awaiting an answer: %w", err)
		case n == len(a.request) && binary.BigEndian.Uint64(a.answer) == a.asked:
			return true, nil
		}
	}
}

func (a *asking) figures() (Figures, error) {
	n := len(a.took)
	if n == 0 {
		return nil, fmt.Errorf("none of %d requests was answered", a.asked)
	}
	slices.Sort(a.took)
	micro := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	return Figures{
		p50:  micro(a.took[n/2]),
		p99:  micro(a.took[n*99/100]),
		loss: 100 * float64(a.asked-uint64(n)) / float64(a.asked),
	}, nil
}
