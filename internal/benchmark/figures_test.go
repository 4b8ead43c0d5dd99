//go:build linux

package benchmark

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFairness(t *testing.T) {
	for _, c := range []struct {
		shares []int64
		want   float64
	}{{[]int64{5, 5, 5, 5}, 1}, {[]int64{9, 0, 0}, 1.0 / 3}, {[]int64{1, 3}, 0.8}, {[]int64{0, 0}, 0}} {
		if got := fairness(c.shares); got < c.want-1e-9 || got > c.want+1e-9 {
			t.Errorf("%v: %v, want %v", c.shares, got, c.want)
		}
	}
}

func TestMedians(t *testing.T) {
	got := medians([]Figures{{"a": 1, "b": 9}, {"a": 7}, {"a": 3, "b": 1}})
	if want := (Figures{"a": 3, "b": 5}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("median of four: %v", got)
	}
}

func TestProcessorTimes(t *testing.T) {
	busy, err := parseBusy("cpu  100 20 3 9999 888 4 50 777 666 555\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if err != nil || busy != 1770*time.Millisecond {
		t.Errorf("%v, %v", busy, err)
	}
	if _, err := parseBusy("intr 5\n"); err == nil {
		t.Error("no times of all processors, and no error")
	}
	stat := "17 (we) ft) S 1 17 17 0 -1 4194560 1 2 3 4 123 456 7 8 20 0 5 0 1 2 3"
	if user, system, err := processTicks([]byte(stat)); err != nil || user != 123 || system != 456 {
		t.Errorf("%d, %d, %v", user, system, err)
	}
	if _, _, err := processTicks([]byte("17 (weft) S 1")); err == nil {
		t.Error("a line without times, and no error")
	}
	if now, err := busyTime(); err != nil || now == 0 {
		t.Errorf("of this machine: %v, %v", now, err)
	}
}

func TestSNMPValue(t *testing.T) {
	text := "Ip: A B\nIp: 1 2\nTcp: InSegs OutSegs RetransSegs\nTcp: 10 20 30\nTcpExt: OutSegs\nTcpExt: 99\n"
	if got := snmpValue(text, "Tcp:", "RetransSegs"); got != 30 {
		t.Errorf("%d", got)
	}
	if got := snmpValue(text, "Udp:", "OutSegs"); got != 0 {
		t.Errorf("%d", got)
	}
	s := tcpSegments{sent: 300, again: 3}
	if got := s.retransmitted(tcpSegments{sent: 100, again: 1}); got != 1 {
		t.Errorf("%v %% sent again, want 1", got)
	}
}

// scripted is a work whose figures are given, way by way and round by round.
func scripted(rates map[string][]float64, order *[]string) Work {
	return Work{Group: "Scripted", Case: "once", Lead: gbps, run: func(w *Way, _ time.Duration) (Figures, error) {
		name := w.Path.Name
		*order = append(*order, name)
		if len(rates[name]) == 0 {
			return nil, errors.New("no more rounds")
		}
		rate := rates[name][0]
		rates[name] = rates[name][1:]
		return Figures{gbps: rate, cpuPerGB: 1 / rate}, nil
	}}
}

// The machine becomes three times as slow within the run. The ratio of each
// turn does not change by that, and no ratio is to a round of another turn.
func TestComparisonIsWithinTurns(t *testing.T) {
	var order []string
	rates := map[string][]float64{"kernel": {30, 20, 10}, "weft": {15, 10, 6}}
	kernel, weft := &Way{Path: Path{Name: "kernel", Ratio: "x_kernel"}}, &Way{Path: Path{Name: "weft"}}
	c := Compare(scripted(rates, &order), time.Second, []*Way{kernel}, weft)
	for range 3 {
		if err := c.Turn(); err != nil {
			t.Fatal(err)
		}
	}
	f := c.Figures(1)
	if f["x_kernel"] != 0.5 || f[gbps] != 10 || f["x_kernel_cpu"] != 2 {
		t.Errorf("%v", f)
	}
	if f := c.Figures(0); f[gbps] != 20 || len(f) != 2 {
		t.Errorf("of the reference: %v", f)
	}
	if want := []string{"kernel", "weft", "weft", "kernel", "kernel", "weft"}; !slices.Equal(order, want) {
		t.Errorf("in the order %v, want %v", order, want)
	}
	if err := c.Turn(); err == nil || !strings.Contains(err.Error(), "Scripted/once over weft") {
		t.Errorf("a round that fails: %v", err)
	}
}

// The parts of a turn take turns as well, in rounds that are shorter.
func TestComparisonInParts(t *testing.T) {
	var order []string
	rates := map[string][]float64{"kernel": {30, 20, 10}, "weft": {15, 5, 6}}
	work := scripted(rates, &order)
	work.Parts = 3
	run := work.run
	work.run = func(w *Way, round time.Duration) (Figures, error) {
		if round != time.Second/3 {
			t.Errorf("a round of %v, want a third of a second", round)
		}
		return run(w, round)
	}
	c := Compare(work, time.Second, []*Way{{Path: Path{Name: "kernel", Ratio: "x_kernel"}}}, &Way{Path: Path{Name: "weft"}})
	if err := c.Turn(); err != nil {
		t.Fatal(err)
	}
	if f := c.Figures(1); f["x_kernel"] != 0.5 {
		t.Errorf("%v", f)
	}
	if want := []string{"kernel", "weft", "weft", "kernel", "kernel", "weft"}; !slices.Equal(order, want) {
		t.Errorf("in the order %v, want %v", order, want)
	}
}

// There is no ratio to a path that carried nothing, and none of a round that
// found no figure.
func TestComparisonWithNothing(t *testing.T) {
	f := Figures{}
	f.setRatio("x", []Figures{{kpps: 5}, {}, {kpps: 7}}, []Figures{{kpps: 0}, {kpps: 1}, {kpps: 2}}, kpps)
	if f["x"] != 3.5 {
		t.Errorf("%v, want 7/2 only", f)
	}
	var order []string
	rates := map[string][]float64{"kernel": {0}, "weft": {6}}
	c := Compare(scripted(rates, &order), time.Second, []*Way{{Path: Path{Name: "kernel", Ratio: "x_kernel"}}}, &Way{Path: Path{Name: "weft"}})
	if err := c.Turn(); err != nil {
		t.Fatal(err)
	}
	if f := c.Figures(1); f[gbps] != 6 || f["x_kernel_cpu"] != 0 || len(f) != 3 {
		t.Errorf("%v", f)
	}
}

func TestShares(t *testing.T) {
	l := lane{busy: 2 * time.Second, counted: tally{"syscalls": 100, "rx_packets": 200, "user": 20, "system": 50, "drops ecn": 3, "drops ttl": 0}}
	f := Figures{}
	l.setShares(f)
	if want := (Figures{perCall: 8, weftUser: 10, weftSystem: 25}); !maps.Equal(f, want) {
		t.Errorf("%v, want %v", f, want)
	}
	if got := list(l.drops()); got != "3 for ecn" {
		t.Errorf("drops %q", got)
	}
	f = Figures{}
	if (&lane{busy: time.Second}).setShares(f); len(f) != 0 {
		t.Errorf("of a path without weft: %v", f)
	}
}

func TestTally(t *testing.T) {
	var none tally
	before, after := tally{"a": 1, "b": 2}, tally{"a": 5, "b": 2}
	if got := none.plus(after.since(before)).plus(tally{"a": 1, "b": 1}); !maps.Equal(got, tally{"a": 5, "b": 1}) {
		t.Errorf("%v", got)
	}
	if none.since(nil) != nil || none.plus(nil) != nil {
		t.Error("none is something")
	}
}
