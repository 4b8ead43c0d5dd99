package result

import (
	"maps"
	"strings"
	"testing"
)

const printed = `weft: v0.1
kernel: 6.18.1
goos: linux
pkg: github.com/weftnet/weft/bench
cpu: Some CPU @ 3 GHz: fast
BenchmarkTCP/mode=wire-like/path=kernel/streams=1-2         	       1	        11.3 Gbit/s	         0.99 cpu-s/GB
BenchmarkTCP/mode=wire-like/path=weft-default-buffer/streams=1-2
    some_test.go:5: a word in between
BenchmarkTCP/mode=wire-like/path=weft-default-buffer/streams=1-2         	       1	         7.345 Gbit/s	         0.6512 x_kernel
BenchmarkRoundTrip/mode=wire-like/path=kernel/size=64-2 	 1	 120.3 µs-p50
PASS
ok  	github.com/weftnet/weft/bench	4.096s
goos: linux
pkg: github.com/weftnet/weft/encap
BenchmarkChecksum/size=20 	 3860668	         6.083 ns/op	3288.07 MB/s	       0 B/op	       0 allocs/op
PASS
`

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParse(t *testing.T) {
	f := parse(t, printed)
	for key, want := range map[string]string{"weft": "v0.1", "kernel": "6.18.1", "cpu": "Some CPU @ 3 GHz: fast", "goos": "linux", "pkg": "", "note": ""} {
		if got := f.Setting(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if len(f.Results) != 4 {
		t.Fatalf("%d results, want 4: %+v", len(f.Results), f.Results)
	}
	r := f.Results[1]
	if r.Group != "TCP" || r.Mode != "wire-like" || r.Path != "weft-default-buffer" || r.Case != "streams=1" || r.Package != "github.com/weftnet/weft/bench" {
		t.Errorf("%+v", r)
	}
	if want := map[string]float64{"Gbit/s": 7.345, "x_kernel": 0.6512}; !maps.Equal(r.Values, want) {
		t.Errorf("%v, want %v", r.Values, want)
	}
	if r := f.Results[3]; r.Group != "Checksum" || r.Case != "size=20" || r.Mode != "" || r.Package != "github.com/weftnet/weft/encap" || r.Values["allocs/op"] != 0 {
		t.Errorf("%+v", r)
	}
}

// A file that lacks what failed is not taken for a whole one.
func TestParseRefusesFailures(t *testing.T) {
	for _, line := range []string{"FAIL", "--- FAIL: BenchmarkTCP/mode=wire-like", "    --- FAIL: BenchmarkTCP", "FAIL\tgithub.com/weftnet/weft/bench [build failed]"} {
		if _, err := Parse(strings.NewReader(printed + line + "\n")); err == nil || !strings.Contains(err.Error(), "line 17") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestTable(t *testing.T) {
	want := `
|                          |       kernel | weft, default buffer |
|--------------------------|-------------:|---------------------:|
| TCP, 1 stream, Gbit/s    |         11.3 |          7.34 (0.65) |
| Round trip, median, µs   |          120 |                      |
| CPU seconds per GB, TCP, 1 stream |         0.99 |                      |
`
	got := parse(t, printed).Table("wire-like")
	squeeze := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, "-", "")), " ") }
	if squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	width := 0
	for line := range strings.Lines(got) {
		n := len([]rune(line))
		if width != 0 && n != width {
			t.Errorf("columns do not line up:\n%s", got)
		}
		width = n
	}
}

// Without the kernel's vxlan there are two ratios.
func TestTableOfTwoRatios(t *testing.T) {
	f := &File{Results: []Result{{Group: "TCP", Case: "streams=1", Mode: "m", Path: "weft", Values: map[string]float64{"Gbit/s": 123.4, "x_veth": 0.5, "x_portable": 7}}}}
	f.Results = append(f.Results, Result{Group: "TCP", Case: "streams=1", Mode: "m", Path: "veth", Values: map[string]float64{"Gbit/s": 246.8, "x_portable": 14}})
	if got := f.Table("m"); !strings.Contains(got, "| 123 (0.50; 7.00) | 247 (–; 14.00) |") {
		t.Error(got)
	}
}
