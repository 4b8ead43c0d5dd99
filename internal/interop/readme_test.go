package interop

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestReadme runs the examples of README.md, line by line, against a kernel
// device as the README's second host has it.
func TestReadme(t *testing.T) {
	t.Parallel()
	lab.NeedKernelVXLAN(t)
	lab.NeedTUN(t)
	a, b := lab.TestPair(t)
	addVTEP(t, b, kernel, spec{
		VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Remote: underlay4.a, Local: underlay4.b, Dev: "eth0"},
		Addrs: innerB[:1],
	})
	w := newWeft(t, a)
	lines := examples(t, "../../README.md")
	if len(lines) < 5 {
		t.Fatalf("README.md has %d example lines: %q", len(lines), lines)
	}
	for _, line := range lines {
		replay(t, w, line)
	}
	check(t, w.ended())
}

// examples returns the lines of a document's sh blocks.
func examples(t *testing.T, path string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "```sh":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && line != "":
			lines = append(lines, line)
		}
	}
	return lines
}

// replay runs one line: weft's as they are, those of ip and ping over netlink
// and sockets, so that neither program has to be there.
func replay(t *testing.T, w *weft, line string) {
	t.Helper()
	f := strings.Fields(line)
	switch {
	case f[0] == "weft":
		w.must(f[1:]...)
	case strings.HasPrefix(line, "ip addr add "):
		check(t, w.host.AddAddr(f[5], netip.MustParsePrefix(f[3])))
	case strings.HasPrefix(line, "ip link set ") && f[4] == "up":
		check(t, w.host.SetUp(f[3]))
	case strings.HasPrefix(line, "ip link del "):
		check(t, w.host.Delete(f[3]))
	case strings.HasPrefix(line, "ping -c "):
		n, err := strconv.Atoi(f[2])
		check(t, err)
		check(t, w.host.Ping(netip.MustParseAddr(f[3]), lab.PingOptions{Count: n}).Lost())
	default:
		t.Errorf("the README has an example that is not run: %s", line)
	}
}
