//go:build linux

package benchmark

import (
	"slices"
	"time"
)

// Figures are what was measured, by unit.
type Figures map[string]float64

// Units of figures. Ratios have the unit of the path that they are to.
const (
	gbps        = "Gbit/s"
	kpps        = "kpps"
	p50         = "µs-p50"
	p99         = "µs-p99"
	cpuPerGB    = "cpu-s/GB"
	loss        = "loss-%"
	retransmits = "retrans-%"
	jain        = "jain"
	perCall     = "pkt/syscall"
	weftUser    = "weft-user-%"
	weftSystem  = "weft-sys-%"
	cpuRatio    = "_cpu" // behind the path's
)

const gigabyte = 1e9

// setCost notes the processor time that bytes of payload have cost.
func (f Figures) setCost(busy time.Duration, bytes int64) {
	if bytes > 0 {
		f[cpuPerGB] = busy.Seconds() / (float64(bytes) / gigabyte)
	}
}

// medians is the median of each unit, of the rounds that have it.
func medians(rounds []Figures) Figures {
	values := map[string][]float64{}
	for _, r := range rounds {
		for unit, v := range r {
			values[unit] = append(values[unit], v)
		}
	}
	m := Figures{}
	for unit, v := range values {
		m[unit] = median(v)
	}
	return m
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// fairness is Jain's index of what each stream got: 1 if all got the same, 1/n
// if one of n got everything.
func fairness(shares []int64) float64 {
	var sum, squares float64
	for _, s := range shares {
		sum += float64(s)
		squares += float64(s) * float64(s)
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(shares)) * squares)
}
