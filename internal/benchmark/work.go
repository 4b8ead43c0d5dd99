//go:build linux

package benchmark

import (
	"fmt"
	"time"
)

// Work is traffic that is sent over a way and measured.
type Work struct {
	Group string // of benchmarks: BenchmarkGroup
	Case  string // within the group
	Lead  string // the unit of the figure by which ways are compared
	Extra bool   // not for the short version
	Parts int    // that a turn is cut into, each with shorter rounds of all ways; 0 = 1

	run func(w *Way, round time.Duration) (Figures, error)
}

// Name is what the work's benchmarks have in common.
func (w *Work) Name() string { return w.Group + "/" + w.Case }

// Sizes of datagrams, in bytes of UDP payload.
const (
	small = 64   // a header and little else: what counts is packets
	large = 1300 // as much as fits through most tunnels
)

// Works are all works, TCP under cubic as package lab sets it.
func Works() []Work {
	tcp := func(streams int, extra bool) Work {
		return Work{Group: "TCP", Case: fmt.Sprintf("streams=%d", streams), Lead: gbps, Extra: extra, run: oneWay(streams)}
	}
	udp := func(group string, size int, extra bool, run func(*Way, time.Duration) (Figures, error)) Work {
		return Work{Group: group, Case: fmt.Sprintf("size=%d", size), Lead: kpps, Extra: extra, run: run}
	}
	return []Work{
		tcp(1, false), tcp(4, true), tcp(8, false),
		{Group: "TCPBothWays", Case: "streams=4+4", Lead: gbps, run: bothWays(4)},
		udp("UDPOverload", small, false, overload(small)),
		udp("UDPLossless", small, false, lossless(small)),
		udp("UDPOverload", large, true, overload(large)),
		udp("UDPLossless", large, true, lossless(large)),
		{Group: "RoundTrip", Case: fmt.Sprintf("size=%d", small), Lead: p50, Parts: 3, run: roundTrips(small)},
	}
}
