package bench

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

const (
	// A round of each path; long enough for TCP to reach its rate.
	roundTime = 1500 * time.Millisecond
	minRounds = 3
)

// BenchmarkTCP sends streams of one direction over each path, in rounds that
// take turns with the kernel's. It reports medians: Gbit/s of the path, and
// x_kernel, the ratio to the kernel's round before it. cubic.
func BenchmarkTCP(b *testing.B) {
	for _, m := range modes {
		for _, p := range paths {
			for _, streams := range []int{1, 8} {
				b.Run(fmt.Sprintf("%s/%s/streams=%d", m.name, p.name, streams), func(b *testing.B) {
					compareTCP(b, m, p, streams)
				})
			}
		}
	}
}

func compareTCP(b *testing.B, m mode, p path, streams int) {
	bed := newBed(b, m)
	base, addr := bed.lay(b, kernel), bed.lay(b, p)
	var rates, ratios []float64
	for b.Loop() {
		for range minRounds {
			k := measure(b, bed, base, streams)
			u := measure(b, bed, addr, streams)
			rates, ratios = append(rates, u), append(ratios, u/k)
		}
	}
	b.ReportMetric(median(rates)/1e9, "Gbit/s")
	b.ReportMetric(median(ratios), "x_kernel")
	b.ReportMetric(0, "ns/op") // a round has a fixed length: it says nothing
}

func measure(b *testing.B, d *bed, addr netip.Addr, streams int) float64 {
	b.Helper()
	rate, err := lab.Throughput(d.a, d.b, netip.AddrPortFrom(addr, 0), roundTime, streams)
	if err != nil {
		b.Fatal(err)
	}
	return rate.BitsPerSecond()
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
