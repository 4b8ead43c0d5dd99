package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/benchmark/result"
)

const (
	results = "../../bench/results/ci.txt"
	docs    = "../../docs"
)

// The documents say what the results file says. `make bench` renews both.
func TestDocumentsAreOfTheResults(t *testing.T) {
	f := file(t)
	page := contents(t, filepath.Join(docs, "performance.md"))
	want, err := between(page, report(f))
	if err != nil {
		t.Fatal(err)
	}
	if page != want {
		t.Errorf("docs/performance.md is not of %s: run `go run ./internal/benchreport -docs docs %s`", results, results[len("../../"):])
	}
	if contents(t, filepath.Join(docs, "performance.svg")) != chart(f) {
		t.Errorf("docs/performance.svg is not of %s: run as above", results)
	}
}

// The committed results are of a whole run, and say of what.
func TestResultsAreWhole(t *testing.T) {
	f := file(t)
	for _, key := range []string{"weft", "cpu", "cores", "kernel", "congestion", "date"} {
		if f.Setting(key) == "" {
			t.Errorf("%s has no %q", results, key)
		}
	}
	for _, mode := range modes {
		for _, path := range []string{"veth", "kernel", "weft", "weft-default-buffer", "weft-portable"} {
			wholeRows(t, f.Without(containers, crowded, peers), mode, path, result.Rows())
		}
		wholeRows(t, f.Of(peers), "", "weft-256-peers", result.Rows()[5:7])
		for _, path := range overlays {
			wholeRows(t, f.Of(containers), mode, path, slices.DeleteFunc(result.Rows(), func(row result.Row) bool { return !f.Of(containers).Measured(row) }))
		}
	}
}

var (
	modes    = []string{"offloads-on", "wire-like"}
	overlays = []string{"agents-vxlan-user", "agents-vxlan-kernel", "agents-udp", "agents-host-gw"}
)

func wholeRows(t *testing.T, f *result.File, mode, path string, rows []result.Row) {
	t.Helper()
	if len(rows) == 0 {
		t.Errorf("%s has nothing of %s, %s", results, path, mode)
	}
	for _, row := range rows {
		r, ok := f.Find(row, mode, path)
		if _, has := r.Values[row.Unit]; !ok || !has && row.Unit != "pkt/syscall" {
			t.Errorf("%s has no %s of %s, %s", results, row.Title, path, mode)
		}
	}
}

// The chart is XML, and has a bar with its figure for every ratio of weft's.
func TestChart(t *testing.T) {
	f := file(t)
	svg := chart(f)
	wellFormed(t, svg)
	for _, mode := range f.Modes() {
		for _, row := range result.Rows() {
			r, _ := f.Find(row, mode, "weft")
			if v, ok := r.Values["x_kernel"+row.Compared]; ok && row.Short != "" && !strings.Contains(svg, ">"+shortRatio(v)+"</text>") {
				t.Errorf("%s, %s: %.2f is not in the chart", row.Title, mode, v)
			}
		}
	}
	if n, want := strings.Count(svg, "ratio to the kernel's vxlan device"), len(f.Modes()); n != want {
		t.Errorf("%d panels, want %d", n, want)
	}
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Containers have tables and panels of their own, and links among many a table,
// beside the ones that there are without them.
func TestContainers(t *testing.T) {
	lines := "BenchmarkTCP/mode=wire-like/path=weft/streams=1-2 1 10.5 Gbit/s 0.71 x_kernel\n"
	for i, path := range overlays {
		lines += fmt.Sprintf("BenchmarkContainers/mode=wire-like/path=%s/TCP/streams=1-2 1 %d Gbit/s 0.3%d x_kernel 0.2%d x_link\n", path, 20+i, i, i)
	}
	lines += "BenchmarkCrowded/path=weft-64-links/TCP/streams=1-2 1 7.25 Gbit/s 0.97 x_weft\n"
	lines += "BenchmarkPeers/path=weft-16-peers/UDPOverload/size=64-2 1 310 kpps 0.91 x_kernel 0.96 x_peer\n"
	lines += "BenchmarkMemory-2 1 14.25 MB-1-link 40.5 MB-64-links 417 kB/link\n"
	lines += "BenchmarkFDBLearnNew-2 1 342661762 ns/op 61.2 B/entry 342 ns/entry\n"
	f, err := result.Parse(strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	text := report(f)
	_, tables, _ := strings.Cut(text, "### Wire-like")
	for _, want := range []string{
		"|                       |        weft |", "|           10.5 (0.71) |",
		"### Container to container through agents, wire-like", "| agents, vxlan user | agents, vxlan kernel |", "20.0 (0.30; 0.20)",
		"### Among many", "7.25 (0.97)", "### To peers in turn", "310 (0.91; 0.96)",
		"14.2 MB in memory, with 64 links 40.5 MB: 417 kB", "each takes 61 bytes",
	} {
		if !strings.Contains(squeeze(tables), squeeze(want)) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	svg := chart(f)
	wellFormed(t, svg)
	for _, want := range []string{"container to container through agents, wire-like: ratio to the kernel's vxlan below the same containers", ">.30<", ">.32<", ">.33<", ">.71<"} {
		if strings.Count(svg, want) != 1 {
			t.Errorf("%q is not once in the chart:\n%s", want, svg)
		}
	}
	if strings.Contains(svg, "round trip") {
		t.Error("the chart has room for what was not measured")
	}
}

// squeeze leaves out how wide columns are.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestRewriteKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "performance.md")
	text := "before\n" + begin + "old\n" + end + "after\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := file(t)
	if err := rewrite(f, dir); err != nil {
		t.Fatal(err)
	}
	got := contents(t, page)
	if want := fmt.Sprintf("before\n%s\n%s\n%safter\n", begin, report(f), end); got != want {
		t.Errorf("got\n%s", got)
	}
	if _, err := between("no lines", "x"); err == nil {
		t.Error("a document without the lines was taken")
	}
}

func file(t *testing.T) *result.File {
	t.Helper()
	f, err := read(results)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
