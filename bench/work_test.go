package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/benchmark"
	"github.com/weftnet/weft/internal/lab"
)

const (
	// A round of TCP on a path, and the measure of other rounds; long enough
	// for TCP to reach its rate.
	round = 500 * time.Millisecond
	// Turns of all paths in each iteration. Three make a median.
	turns = 3
)

// Each benchmark below sends its traffic over every path, in rounds that take
// turns with those of the path or paths that it is compared with. It reports
// medians. A longer -benchtime means more rounds.

func BenchmarkTCP(b *testing.B)         { run(b, "TCP") }
func BenchmarkTCPBothWays(b *testing.B) { run(b, "TCPBothWays") }
func BenchmarkUDPOverload(b *testing.B) { run(b, "UDPOverload") }
func BenchmarkUDPLossless(b *testing.B) { run(b, "UDPLossless") }
func BenchmarkRoundTrip(b *testing.B)   { run(b, "RoundTrip") }

// run runs the works of a group in every mode on every path.
func run(b *testing.B, group string) {
	lab.NeedTUN(b)
	for _, mode := range benchmark.Modes() {
		for _, path := range benchmark.Available() {
			for _, work := range benchmark.Works() {
				if work.Group != group || path.Few && work.Name() != "TCP/streams=1" {
					continue
				}
				b.Run("mode="+mode.Name+"/path="+path.Name+"/"+work.Case, func(b *testing.B) {
					compare(b, mode, path, work)
				})
			}
		}
	}
}

// BenchmarkCrowded measures links among many entries and many links, against a
// link that is alone (x_weft). A path is laid once: to fill it takes longer than
// to measure it.
func BenchmarkCrowded(b *testing.B) {
	lab.NeedTUN(b)
	for _, path := range benchmark.Crowded() {
		b.Run("path="+path.Name, func(b *testing.B) {
			bed := newBed(b, benchmark.Modes()[0])
			for _, work := range benchmark.Works() {
				if work.Name() == "TCP/streams=1" || work.Name() == "UDPOverload/size=64" {
					b.Run(work.Name(), func(b *testing.B) {
						compareOn(b, bed, []benchmark.Path{benchmark.Uncrowded()}, path, work)
					})
				}
			}
		})
	}
}

// BenchmarkPeers measures a link that sends to many peers in turn, against one that
// has a single peer (x_peer), and the kernel's with as many (x_kernel).
func BenchmarkPeers(b *testing.B) {
	lab.NeedTUN(b)
	for _, path := range benchmark.Peopled() {
		for _, work := range benchmark.Works() {
			if work.Name() == "UDPOverload/size=64" {
				b.Run("path="+path.Name+"/"+work.Name(), func(b *testing.B) {
					compareWith(b, benchmark.Modes()[0], benchmark.PeopledReferences(path), path, work)
				})
			}
		}
	}
}

// BenchmarkMemory reports what a daemon has in memory, and what a link more takes.
func BenchmarkMemory(b *testing.B) {
	lab.NeedTUN(b)
	const many = 64
	var one, all float64
	for b.Loop() {
		var err error
		one, err = benchmark.Resident(1)
		check(b, err)
		all, err = benchmark.Resident(many)
		check(b, err)
	}
	b.ReportMetric(one/1e6, "MB-1-link")
	b.ReportMetric(all/1e6, "MB-64-links")
	b.ReportMetric((all-one)/(many-1)/1e3, "kB/link")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkContainers measures what containers on two nodes have of the network
// that weft's agents give them, against what they have with the kernel's vxlan
// below it (x_kernel), and against that device alone, from host to host (x_link, of TCP).
// The nodes of a mode stay while its paths are measured.
func BenchmarkContainers(b *testing.B) {
	lab.NeedTUN(b)
	lab.NeedBridge(b)
	for _, mode := range benchmark.Modes() {
		bed := newBed(b, mode)
		for _, path := range benchmark.Overlays() {
			for _, work := range benchmark.Works() {
				if !slices.Contains(ofContainers, work.Name()) {
					continue
				}
				b.Run("mode="+mode.Name+"/path="+path.Name+"/"+work.Name(), func(b *testing.B) {
					references := benchmark.OverlayReferences()
					if work.Group != "TCP" {
						references = references[:1] // the whole run is to end within eight minutes
					}
					compareOn(b, bed, references, path, work)
				})
			}
		}
	}
}

// ofContainers are the works that containers are measured with.
var ofContainers = []string{"TCP/streams=1", "UDPOverload/size=64", "RoundTrip/size=64"}

// compare lays the path beside its references, and takes all away at the end.
func compare(b *testing.B, mode benchmark.Mode, path benchmark.Path, work benchmark.Work) {
	compareWith(b, mode, benchmark.References(), path, work)
}

func compareWith(b *testing.B, mode benchmark.Mode, with []benchmark.Path, path benchmark.Path, work benchmark.Work) {
	compareOn(b, newBed(b, mode), with, path, work)
}

// newBed makes a bed that stays until the benchmark ends.
func newBed(b *testing.B, mode benchmark.Mode) *benchmark.Bed {
	b.Helper()
	bed, err := benchmark.NewBed(mode)
	check(b, err)
	b.Cleanup(func() { check(b, bed.Close()) })
	return bed
}

// compareOn lays what is not there yet.
func compareOn(b *testing.B, bed *benchmark.Bed, with []benchmark.Path, path benchmark.Path, work benchmark.Work) {
	var references []*benchmark.Way
	for _, r := range with {
		references = append(references, lay(b, bed, r))
	}
	c := benchmark.Compare(work, round, references, lay(b, bed, path))
	for b.Loop() {
		for range turnsOf(path, work) {
			check(b, c.Turn())
		}
	}
	for unit, v := range c.Figures(len(references)) {
		b.ReportMetric(v, unit)
	}
	b.ReportMetric(0, "ns/op") // a round has a fixed length: it says nothing
}

// turnsOf is more for one TCP stream over weft, the figure that is asked for first:
// the median of three ratios is up to a tenth off when the machine's neighbours are
// busy.
func turnsOf(path benchmark.Path, work benchmark.Work) int {
	if path.Name == "weft" && work.Name() == "TCP/streams=1" {
		return 3 * turns
	}
	return turns
}

func lay(b *testing.B, bed *benchmark.Bed, p benchmark.Path) *benchmark.Way {
	b.Helper()
	way, err := bed.Lay(p)
	check(b, err)
	return way
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
