package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// routeJSON is the part of `weft route show -j` that tests look at.
type routeJSON struct {
	Dst, Gateway, Dev, LLAddr, Match string
}

func (w *weft) routes(t *testing.T, words ...string) (all []routeJSON) {
	t.Helper()
	text := w.must(append([]string{"-j", "route"}, words...)...)
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("weft route %v: %v: %q", words, err, text)
	}
	return all
}

// TestRouteCommand goes through the words of weft route.
func TestRouteCommand(t *testing.T) {
	t.Parallel()
	h, _ := lab.TestPair(t)
	a := addUDPLink(t, h, underlay4.a, nodesA)
	w := a.weft
	w.must("link", "add", "tap0", "type", "vxlan", "id", "5", "dstport", "4789")
	w.must("link", "add", "x1", "type", "vxlan", "id", "6", "dstport", "4789", "l3", "remote", "192.0.2.9")
	for _, words := range []string{
		"add 10.9.2.0/24 via 192.0.2.2 dev flannel0", "add 10.9.3.0/24 via 192.0.2.3 port 8286 dev flannel0", "add 10.9.2.7 via 192.0.2.7 dev flannel0",
		"add fd09:2::/64 via 192.0.2.2 dev flannel0", "add default via 192.0.2.1 dev flannel0", "replace 10.9.3.0/24 via 192.0.2.4 dev flannel0",
		"add 10.9.2.0/24 lladdr 02:00:00:00:00:01 dev x1", "add 10.9.3.0/24 via 192.0.2.3 lladdr 02:00:00:00:00:02 vni 7 port 4790 dev x1",
	} {
		w.must(append([]string{"route"}, strings.Fields(words)...)...)
	}
	const flannel = "default via 192.0.2.1 %[1]s\n10.9.2.0/24 via 192.0.2.2 %[1]s\n10.9.2.7 via 192.0.2.7 %[1]s\n10.9.3.0/24 via 192.0.2.4 %[1]s\nfd09:2::/64 via 192.0.2.2 %[1]s\n"
	const x1 = "10.9.2.0/24 via 192.0.2.9 dev x1 lladdr 02:00:00:00:00:01 \n10.9.3.0/24 via 192.0.2.3 dev x1 lladdr 02:00:00:00:00:02 vni 7 port 4790 \n"
	if got, want := w.must("route", "show", "dev", a.link), fmt.Sprintf(flannel, ""); got != want {
		t.Errorf("route show dev:\n%q\nwant\n%q", got, want)
	}
	if got, want := w.must("route"), fmt.Sprintf(flannel, "dev flannel0 ")+x1; got != want {
		t.Errorf("route:\n%s\nwant\n%s", got, want)
	}
	if got := w.routes(t, "show", "dev", "x1"); len(got) != 2 || got[0] != (routeJSON{"10.9.2.0/24", "192.0.2.9", "", "02:00:00:00:00:01", ""}) {
		t.Errorf("route show -j: %+v", got)
	}
	for to, via := range map[string]string{"10.9.2.7": "192.0.2.7", "10.9.2.8": "192.0.2.2", "10.200.1.1": "192.0.2.1"} {
		if got := w.must("route", "get", to, "dev", a.link); got != to+" via "+via+" dev flannel0 \n" {
			t.Errorf("route get %s: %q", to, got)
		}
	}
	if got := w.routes(t, "get", "10.9.2.8", "dev", a.link); len(got) != 1 || got[0].Match != "10.9.2.0/24" || got[0].Dst != "10.9.2.8" {
		t.Errorf("route get -j: %+v", got)
	}
	for words, want := range map[string]string{
		"add 10.9.2.0/24 via 192.0.2.2 dev flannel0":   "route add 10.9.2.0/24 dev flannel0: File exists: the prefix has a route already",
		"del 10.9.4.0/24 dev flannel0":                 "route del 10.9.4.0/24 dev flannel0: No such process: there is no such route",
		"del 10.9.2.0/24 via 192.0.2.3 dev flannel0":   "No such process",
		"get fd00::1 dev flannel0":                     "Network is unreachable: no route of flannel0 is for fd00::1",
		"add 10.9.4.0/24 dev flannel0":                 "`via VTEP` is missing",
		"add 10.9.4.0/24 via fd00::1 dev flannel0":     "Address family not supported by protocol",
		"add 10.9.4.0/24 dev x1":                       "`lladdr MAC` is missing",
		"add 10.9.4.0/24 via 192.0.2.2 vni 5 dev tap0": "tap0 has no routes: it is a link of type vxlan without l3",
		"show dev tap0":                                "tap0 has no routes",
		"add 10.9.4.0/24 via 192.0.2.2 dev eth0":       `device "eth0" is not weft's`,
		"add 10.9.4.0/24 via 192.0.2.2 dev none":       `no link "none"`,
	} {
		out := w.run(append([]string{"route"}, strings.Fields(words)...)...)
		if out.Status != 1 || out.Stdout != "" || !strings.HasPrefix(out.Stderr, "weft: ") || !strings.Contains(out.Stderr, want) {
			t.Errorf("route %s: status %d, %q, %q, want %q", words, out.Status, out.Stdout, out.Stderr, want)
		}
	}
	w.must("route", "delete", "10.9.2.0/24", "via", "192.0.2.2", "dev", a.link)
	w.must("route", "del", "default", "dev", a.link)
	if got := w.must("route", "get", "10.9.2.7", "dev", a.link); !strings.Contains(got, "192.0.2.7") {
		t.Errorf("route get: %q", got)
	}
}

// TestRouteBatch puts many routes to a daemon in one file, and reads them back
// in order; the line that is wrong is named.
func TestRouteBatch(t *testing.T) {
	t.Parallel()
	h, _ := lab.TestPair(t)
	a := addUDPLink(t, h, underlay4.a, nodesA)
	const n = 20_000
	var lines, want strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "route add 10.%d.%d.0/24 via 192.0.2.%d dev flannel0\n", i>>8&127, i&255, i%200+1)
	}
	for i := range n {
		fmt.Fprintf(&want, "10.%d.%d.0/24 via 192.0.2.%d \n", i>>8&127, i&255, i%200+1)
	}
	file := filepath.Join(a.weft.dir, "routes")
	check(t, os.WriteFile(file, []byte(lines.String()), 0o600))
	begun := time.Now()
	a.weft.must("-batch", file)
	t.Logf("%d routes in %v", n, time.Since(begun))
	if got := a.weft.must("route", "show", "dev", a.link); got != want.String() {
		t.Errorf("%d lines are shown of %d", strings.Count(got, "\n"), n)
	}
	check(t, os.WriteFile(file, []byte("route replace 10.0.0.0/24 via 192.0.2.3 dev flannel0\nroute add 10.0.1.0/24 via 192.0.2.3 dev flannel0\nroute del 10.0.2.0/24 dev flannel0\n"), 0o600))
	out := a.weft.run("-batch", file)
	if out.Status != 1 || !strings.Contains(out.Stderr, "File exists") || !strings.Contains(out.Stderr, fmt.Sprintf("Command failed %s:2", file)) {
		t.Errorf("status %d, %q", out.Status, out.Stderr)
	}
	out = a.weft.run("-force", "-batch", file)
	if out.Status != 1 || !strings.Contains(out.Stderr, ":2") || a.weft.run("route", "get", "10.0.2.1", "dev", a.link).Status != 1 {
		t.Errorf("status %d, %q", out.Status, out.Stderr)
	}
}
