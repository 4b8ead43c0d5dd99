//go:build linux

package benchmark

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// oneWay sends TCP streams, all in one direction, as fast as they go.
func oneWay(streams int) func(*Way, time.Duration) (Figures, error) {
	return func(w *Way, round time.Duration) (Figures, error) {
		return w.tcp(func() ([]lab.Rate, error) {
			rate, err := throughput(w.From, w.To, round, streams)
			return []lab.Rate{rate}, err
		})
	}
}

// bothWays sends TCP streams in both directions at once.
func bothWays(streamsEach int) func(*Way, time.Duration) (Figures, error) {
	return func(w *Way, round time.Duration) (Figures, error) {
		return w.tcp(func() ([]lab.Rate, error) {
			rates, errs := make([]lab.Rate, 2), make([]error, 2)
			var wg sync.WaitGroup
			wg.Go(func() { rates[0], errs[0] = throughput(w.From, w.To, round, streamsEach) })
			wg.Go(func() { rates[1], errs[1] = throughput(w.To, w.From, round, streamsEach) })
			wg.Wait()
			return rates, errors.Join(errs...)
		})
	}
}

func throughput(from, to End, round time.Duration, streams int) (lab.Rate, error) {
	return lab.Throughput(from.Host, to.Host, netip.AddrPortFrom(to.Addr, 0), round, streams)
}

// tcp measures what transfers carry, how they share, and what they cost.
func (w *Way) tcp(transfer func() ([]lab.Rate, error)) (Figures, error) {
	before, err := w.tcpSegments()
	if err != nil {
		return nil, err
	}
	m, err := startMeter()
	if err != nil {
		return nil, err
	}
	rates, err := transfer()
	if err != nil {
		return nil, err
	}
	busy, err := m.read()
	if err != nil {
		return nil, err
	}
	after, err := w.tcpSegments()
	if err != nil {
		return nil, err
	}
	f := Figures{}
	var bytes int64
	var shares []int64
	for _, r := range rates {
		f[gbps] += r.BitsPerSecond() / 1e9
		bytes += r.Bytes() + r.Late
		shares = append(shares, r.Streams...)
	}
	f[jain] = fairness(shares)
	f[retransmits] = after.retransmitted(before)
	f.setCost(busy, bytes)
	return f, nil
}

// tcpSegments are both hosts' counts of segments sent, and sent again.
type tcpSegments struct{ sent, again uint64 }

// retransmitted is the share, in percent, since an earlier count.
func (s tcpSegments) retransmitted(before tcpSegments) float64 {
	if s.sent == before.sent {
		return 0
	}
	return 100 * float64(s.again-before.again) / float64(s.sent-before.sent)
}

func (w *Way) tcpSegments() (sum tcpSegments, err error) {
	for _, e := range []End{w.From, w.To} {
		err := e.Host.Do(func() error {
			text, err := os.ReadFile("/proc/thread-self/net/snmp")
			sum.sent += snmpValue(string(text), "Tcp:", "OutSegs")
			sum.again += snmpValue(string(text), "Tcp:", "RetransSegs")
			return err
		})
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// snmpValue finds a value in /proc/net/snmp, where a line of names is followed
// by a line of values that begins with the same word.
func snmpValue(text, prefix, name string) uint64 {
	at := -1
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != prefix {
			continue
		}
		if at >= 0 && at < len(fields) {
			v, _ := strconv.ParseUint(fields[at], 10, 64)
			return v
		}
		for i, f := range fields {
			if f == name {
				at = i
			}
		}
	}
	return 0
}
