//go:build linux

package benchmark_test

import (
	"slices"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/benchmark"
	"github.com/weftnet/weft/internal/benchmark/result"
	"github.com/weftnet/weft/internal/lab"
)

// briefly is too short for a figure that means something.
const briefly = 20 * time.Millisecond

// Every work runs on every path and reports the figures of its rows.
func TestEveryWorkOnEveryPath(t *testing.T) {
	lab.NeedTUN(t)
	for _, mode := range benchmark.Modes() {
		t.Run(mode.Name, func(t *testing.T) {
			bed, err := benchmark.NewBed(mode)
			check(t, err)
			defer func() { check(t, bed.Close()) }()
			var references, others []*benchmark.Way
			for _, p := range benchmark.References() {
				references = append(references, lay(t, bed, p))
			}
			for _, p := range benchmark.Available() {
				others = append(others, lay(t, bed, p))
			}
			for _, w := range benchmark.Works() {
				for i, f := range turns(t, w, references, others) {
					checkFigures(t, w, others[i].Path, f)
				}
			}
		})
	}
}

// turns measures until all have taken processor time, which the kernel counts in ticks of
// ten milliseconds: a round that is brief may have none.
func turns(t *testing.T, w benchmark.Work, references, others []*benchmark.Way) (figures []benchmark.Figures) {
	t.Helper()
	c := benchmark.Compare(w, briefly, references, others...)
	for range 9 {
		check(t, c.Turn())
		figures = nil
		for i := range others {
			figures = append(figures, c.Figures(len(references)+i))
		}
		if !slices.ContainsFunc(figures, func(f benchmark.Figures) bool { v, ok := f["cpu-s/GB"]; return ok && v == 0 }) {
			break
		}
	}
	return figures
}

// checkFigures wants the figures that tables show.
func checkFigures(t *testing.T, w benchmark.Work, p benchmark.Path, f benchmark.Figures) {
	t.Helper()
	for _, row := range result.Rows() {
		if row.Group != w.Group || row.Case != w.Case || row.Unit == "pkt/syscall" {
			continue
		}
		v, ok := f[row.Unit]
		if row.Group == "UDPLossless" {
			continue // briefly may be too short to find a rate
		}
		if !ok || v < 0 || v == 0 && row.Compared != "-" {
			t.Errorf("%s on %s: %v %s", w.Name(), p.Name, v, row.Unit)
		}
	}
	if _, ok := f["pkt/syscall"]; ok != (p.Name != "kernel" && p.Name != "veth") {
		t.Errorf("%s on %s: packets per system call %v", w.Name(), p.Name, ok)
	}
	for _, r := range benchmark.References() {
		if v, ok := f[r.Ratio]; w.Group != "UDPLossless" && (!ok || v <= 0) {
			t.Errorf("%s on %s: %s is %v", w.Name(), p.Name, r.Ratio, v)
		}
	}
}

// There are rows for every work, and a work for every row.
func TestRowsAreOfWorks(t *testing.T) {
	shown := map[string]bool{}
	for _, row := range result.Rows() {
		shown[row.Group+"/"+row.Case] = true
	}
	leads := map[string]string{}
	for _, w := range benchmark.Works() {
		leads[w.Name()] = w.Lead
		if !shown[w.Name()] {
			t.Errorf("no row shows %s", w.Name())
		}
	}
	for _, row := range result.Rows() {
		lead, ok := leads[row.Group+"/"+row.Case]
		if !ok || row.Compared == "" && row.Unit != lead {
			t.Errorf("row %q compares %s, its work %q", row.Title, row.Unit, lead)
		}
	}
}

func lay(t *testing.T, bed *benchmark.Bed, p benchmark.Path) *benchmark.Way {
	t.Helper()
	w, err := bed.Lay(p)
	check(t, err)
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
