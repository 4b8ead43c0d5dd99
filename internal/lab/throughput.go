//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// burst is the size of the buffers of an unchecked transfer.
const burst = 1 << 20

// Rate is what a throughput run carried, counted at the receiver while the senders sent.
// What came later is none of it: where the last segment of a stream is lost its sender
// waits for a fifth of a second, and nothing moves.
type Rate struct {
	Streams  []int64 // bytes of each stream
	Late     int64   // bytes of all that came after Duration
	Duration time.Duration
}

// Bytes is the sum of all streams, without what was late.
func (r Rate) Bytes() int64 {
	var sum int64
	for _, n := range r.Streams {
		sum += n
	}
	return sum
}

// BitsPerSecond is the rate of all streams together.
func (r Rate) BitsPerSecond() float64 { return float64(r.Bytes()) * 8 / r.Duration.Seconds() }

// Throughput sends zeros over a number of TCP streams at once, as fast as they
// go, for a duration, from one host to an address of another (port 0 takes
// any). Both directions are measured at once by two calls.
func Throughput(from, to *Host, addr netip.AddrPort, d time.Duration, streams int) (Rate, error) {
	all, err := connect(from, to, addr, streams)
	if err != nil {
		return Rate{}, fmt.Errorf("throughput from %s to %s: %w", from.Name, to.Name, err)
	}
	defer closeAll(all)
	rate := Rate{Streams: make([]int64, streams), Duration: d}
	late := make([]int64, streams)
	errs := make([]error, 2*streams)
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { errs[2*i] = pour(s.client, end) })
		wg.Go(func() { rate.Streams[i], late[i], errs[2*i+1] = drain(s.server, end) })
	}
	wg.Wait()
	for _, n := range late {
		rate.Late += n
	}
	if err := errors.Join(errs...); err != nil {
		return rate, fmt.Errorf("throughput from %s to %s: %w", from.Name, to.Name, err)
	}
	return rate, nil
}

// pour writes zeros until the deadline, once at least, and closes its direction.
func pour(conn *net.TCPConn, until time.Time) error {
	zeros := make([]byte, burst)
	if err := conn.SetWriteDeadline(until.Add(stallLimit)); err != nil {
		return err
	}
	for {
		if _, err := conn.Write(zeros); err != nil {
			return err
		}
		if !time.Now().Before(until) {
			return conn.CloseWrite()
		}
	}
}

// drain reads to the end and returns how much came until a moment, and after it.
func drain(conn *net.TCPConn, until time.Time) (early, late int64, err error) {
	if err := conn.SetReadDeadline(until.Add(stallLimit)); err != nil {
		return 0, 0, err
	}
	buf := make([]byte, burst)
	for err == nil {
		var n int
		n, err = conn.Read(buf)
		if time.Now().Before(until) {
			early += int64(n)
		} else {
			late += int64(n)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return early, late, err
}
