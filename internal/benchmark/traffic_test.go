//go:build linux

package benchmark_test

import (
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
			cpu := 0.0
			for _, w := range benchmark.Works() {
				c := benchmark.Compare(w, briefly, references, others...)
				check(t, c.Turn())
				for i, way := range others {
					f := c.Figures(len(references) + i)
					checkFigures(t, w, way.Path, f)
					cpu += f[cpuUnit]
				}
			}
			if cpu == 0 {
				t.Errorf("nothing took any %s", cpuUnit)
			}
		})
	}
}

// cpuUnit is of what the kernel counts in ticks of ten milliseconds, of which a round that is
// brief may have none.
const cpuUnit = "cpu-s/GB"

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
		if !ok || v < 0 || v == 0 && row.Compared != "-" && row.Unit != cpuUnit {
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
