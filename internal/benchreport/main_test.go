package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	for _, mode := range []string{"offloads-on", "wire-like"} {
		for _, path := range []string{"veth", "kernel", "weft", "weft-default-buffer", "weft-portable"} {
			for _, row := range result.Rows() {
				r, ok := f.Find(row, mode, path)
				if _, has := r.Values[row.Unit]; !ok || !has && row.Unit != "pkt/syscall" {
					t.Errorf("%s has no %s of %s, %s", results, row.Title, path, mode)
				}
			}
		}
	}
}

// The chart is XML, and has a bar with its figure for every ratio of weft's.
func TestChart(t *testing.T) {
	f := file(t)
	svg := chart(f)
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
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
