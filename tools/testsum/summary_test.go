package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const events = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:7: no vxlan here: load it\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:9: broken\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p"}
{"Action":"output","Package":"q","Output":"chatter\n"}
{"Action":"output","Package":"q","Output":"ok  \tq\t0.1s\n"}
{"Action":"pass","Package":"q"}
not JSON
`

func TestSummary(t *testing.T) {
	var out strings.Builder
	s := newSummary(&out)
	// Two runs: what both leave out is listed once.
	for range 2 {
		if err := s.read(strings.NewReader(events)); err != nil {
			t.Fatal(err)
		}
	}
	out.Reset()
	if err := s.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	s.print()
	want := "    a_test.go:9: broken\nFAIL\nok  \tq\t0.1s\nnot JSON\n" +
		"\nleft out:\n  p TestA: no vxlan here: load it\n\ntests: 3 passed, 3 failed, 3 skipped\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestSummaryShowsUnfinishedTest(t *testing.T) {
	var out strings.Builder
	s := newSummary(&out)
	s.take(event{Action: "output", Package: "p", Test: "TestA", Output: "stuck here\n"})
	s.print()
	if !strings.Contains(out.String(), "stuck here\n") {
		t.Errorf("got %q, want the output of a test without a result in it", out.String())
	}
}

func TestAddPackages(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report")
	text := "weft/a: all tests: namespaces: refused\nweft/b: TestB: no tun\n"
	if err := os.WriteFile(report, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSummary(nil)
	s.addPackages(report)
	if got, want := strings.Join(s.leftOut, "\n"), "weft/a: all tests: namespaces: refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSplit(t *testing.T) {
	got := split([]string{"-v", "./a", "+", "-race", "./b"})
	if len(got) != 2 || strings.Join(got[0], " ") != "-v ./a" || strings.Join(got[1], " ") != "-race ./b" {
		t.Errorf("got %q", got)
	}
}
