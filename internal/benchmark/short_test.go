//go:build linux

package benchmark_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/benchmark"
	"github.com/weftnet/weft/internal/benchmark/result"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// outside makes `weft bench` believe that it is not in a world of the lab, and
// so make one of its own, as on a user's machine.
var outside = []string{"WEFT_LAB_OUTSIDE=", "WEFT_LAB_RUN_DIR="}

// `weft bench` runs in namespaces of its own and leaves the caller's alone.
func TestWeftBench(t *testing.T) {
	lab.NeedTUN(t)
	h := lab.TestHost(t, "user")
	weft := &vtep.Weft{Host: h, Env: outside}
	out, err := weft.Run("bench", "-j", "--round", "10ms")
	check(t, err)
	if out.Status != 0 {
		t.Fatalf("status %d: %s", out.Status, out.Stderr)
	}
	if !strings.Contains(out.Stderr, "measuring UDPLossless/size=64, wire-like\n") {
		t.Errorf("progress: %s", out.Stderr)
	}
	var r benchmark.Report
	check(t, json.Unmarshal([]byte(out.Stdout), &r))
	checkReport(t, &r)
	links, err := h.Netlink().LinkList()
	check(t, err)
	if len(links) != 1 {
		t.Errorf("%d devices in the caller's namespace, want lo alone", len(links))
	}
}

func checkReport(t *testing.T, r *benchmark.Report) {
	t.Helper()
	if r.Machine["congestion"] != "cubic" || r.Machine["kernel"] == "" {
		t.Errorf("machine: %v", r.Machine)
	}
	for _, want := range []string{"One TCP stream between veths", "One TCP stream over a wire-like link", "these engaged: TCP super-frames"} {
		if !strings.Contains(r.Where, want) {
			t.Errorf("%q is not in %q", want, r.Where)
		}
	}
	for _, want := range []string{"offloads-on:", "wire-like:", "TCP, 8 streams", "Round trip, median", "CPU seconds per GB"} {
		if !strings.Contains(r.Tables(), want) {
			t.Errorf("%q is not in\n%s", want, r.Tables())
		}
	}
	for _, p := range benchmark.Available() {
		i := slices.IndexFunc(r.Results, func(res result.Result) bool {
			return res.Mode == "wire-like" && res.Path == p.Name && res.Group == "TCP" && res.Values["Gbit/s"] > 0
		})
		if (i < 0) != p.Extra {
			t.Errorf("a figure of %s: %v", p.Name, i >= 0)
		}
	}
}
