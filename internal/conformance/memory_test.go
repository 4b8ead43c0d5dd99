package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// daemonOf is the process id of the one daemon of weft's in a host.
func daemonOf(t *testing.T, h *lab.Host) int {
	t.Helper()
	inode := must(h.Inode())(t)
	all, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	var pids []int
	for _, link := range all {
		ns, _ := os.Readlink(link)
		dir := filepath.Dir(filepath.Dir(link))
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if ns == fmt.Sprintf("net:[%d]", inode) && strings.Contains(string(command), "daemon") {
			pids = append(pids, must(strconv.Atoi(filepath.Base(dir)))(t))
		}
	}
	if len(pids) != 1 {
		t.Fatalf("%s: daemons %v, want one", h.Name, pids)
	}
	return pids[0]
}

const mib = 1 << 20

// resident is how much memory a process has, in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text := must(os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)))(t)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			return must(strconv.Atoi(f[1]))(t) << 10
		}
	}
	t.Fatalf("process %d shows no VmRSS", pid)
	return 0
}

// text says a number of bytes for people.
func text(bytes int) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/mib) }
