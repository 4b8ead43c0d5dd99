package interop

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// spawnDaemon starts `weft daemon` and waits until it answers.
func (w *weft) spawnDaemon(t *testing.T) *lab.Process {
	t.Helper()
	p, err := w.line.Spawn("daemon")
	check(t, err)
	check(t, lab.Eventually(waitLimit, func() error {
		if len(w.sockets()) == 0 {
			return fmt.Errorf("no control socket: %s", p.Stderr())
		}
		return nil
	}))
	return p
}

// TestForegroundDaemon outlives its last link, logs to standard error, and
// takes its links along when it is told to end.
func TestForegroundDaemon(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			w := newLoneWeft(t)
			p := w.spawnDaemon(t)
			for range 3 {
				w.must(addWords("one", 1)...)
				w.must("link", "del", "one")
				checkFreed(t, w.host, 4789, false)
			}
			w.must(addWords("one", 1)...)
			w.must(addWords("two", 2)...)
			check(t, w.host.Delete("one"))
			if w.pid(t) != p.Pid() || len(w.sockets()) != 1 {
				t.Errorf("process %d serves, not %d", w.pid(t), p.Pid())
			}
			check(t, p.Signal(signal))
			out, err := p.Wait(waitLimit)
			check(t, err)
			if out.Status != 0 || !strings.Contains(out.Stderr, "two") {
				t.Errorf("status %d, log %s", out.Status, out.Stderr)
			}
			if files := w.files(); len(files) != 0 {
				t.Errorf("left in the run directory: %v", files)
			}
			w.checkEnded(t, p.Pid())
			checkFreed(t, w.host, 4789, false)
		})
	}
}

// TestBackgroundDaemonIsTold ends one in the background by SIGTERM.
func TestBackgroundDaemonIsTold(t *testing.T) {
	w := newLoneWeft(t)
	w.must(addWords("one", 1)...)
	w.must(addWords("two", 2)...)
	pid := w.pid(t)
	check(t, syscall.Kill(pid, syscall.SIGTERM))
	w.checkEnded(t, pid)
	checkFreed(t, w.host, 4789, false)
}

// TestKilledDaemon leaves a socket on which nobody answers. No command minds
// it, and the next daemon takes its place.
func TestKilledDaemon(t *testing.T) {
	w := newLoneWeft(t)
	w.must(addWords("one", 1)...)
	pid := w.pid(t)
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	// For that its device has to go, and others may hold the kernel's lock for devices.
	check(t, lab.Eventually(waitLimit, func() error { return stillRuns(pid) }))
	checkFreed(t, w.host, 4789, false)
	if len(w.sockets()) != 1 {
		t.Fatalf("run directory %v: this is not what a killed daemon leaves", w.files())
	}
	if out := w.run("link", "show"); out.Status != 0 || out.Stdout != "" {
		t.Errorf("link show: status %d, %q, %q", out.Status, out.Stdout, out.Stderr)
	}
	if out := w.run("link", "del", "one"); out.Status != 1 || !strings.Contains(out.Stderr, `"one"`) {
		t.Errorf("link del: status %d, %q", out.Status, out.Stderr)
	}
	w.must(addWords("one", 1)...)
	if now := w.pid(t); now == pid || len(w.sockets()) != 1 || !slices.Equal(w.names(), []string{"one"}) {
		t.Errorf("process %d, sockets %v, links %v", now, w.sockets(), w.names())
	}
}
