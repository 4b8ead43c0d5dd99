package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/cli"
	"github.com/weftnet/weft/internal/lab"
	vteps "github.com/weftnet/weft/internal/vtep"
)

func TestMain(m *testing.M) {
	vteps.ActAsWeft(cli.Main)
	lab.Main(m)
}

// weft runs weft in a host, with the test's own run directory.
type weft struct {
	t    *testing.T
	host *lab.Host
	dir  string
	line vteps.Weft
}

// newWeft gives a host its own run directory, as a machine of its own would
// have. What is still there when the test ends is deleted.
func newWeft(t *testing.T, h *lab.Host, env ...string) *weft {
	t.Helper()
	dir, err := os.MkdirTemp(lab.RunDir(), "weft")
	if err != nil {
		t.Fatal(err)
	}
	// The race detector would have every command wait a second before it ends.
	env = append([]string{"WEFT_RUN_DIR=" + dir, "GORACE=atexit_sleep_ms=0"}, env...)
	w := &weft{t: t, host: h, dir: dir, line: vteps.Weft{Host: h, Env: env}}
	t.Cleanup(w.end)
	return w
}

// run runs one command to its end.
func (w *weft) run(args ...string) lab.Output {
	w.t.Helper()
	out, err := w.line.Run(args...)
	if err != nil {
		w.t.Fatalf("weft %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// command is weft as a process that the caller starts.
func (w *weft) command(args ...string) *exec.Cmd {
	program, env := w.line.Line()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// must runs one command that has to succeed, and returns what it printed.
func (w *weft) must(args ...string) string {
	w.t.Helper()
	out := w.run(args...)
	if out.Status != 0 {
		w.t.Fatalf("weft %s: status %d: %s", strings.Join(args, " "), out.Status, out.Stderr)
	}
	return out.Stdout
}

// sockets are the control sockets of the daemons that run.
func (w *weft) sockets() []string {
	found, _ := filepath.Glob(filepath.Join(w.dir, "*.sock"))
	return found
}

// ended waits until no daemon is left.
func (w *weft) ended() error {
	return lab.Eventually(5*time.Second, func() error {
		if left := w.sockets(); len(left) > 0 {
			return fmt.Errorf("daemon still there: %s", left)
		}
		return nil
	})
}

// log is what the daemons wrote.
func (w *weft) log() string {
	var all strings.Builder
	found, _ := filepath.Glob(filepath.Join(w.dir, "*.log"))
	for _, f := range found {
		text, _ := os.ReadFile(f)
		all.Write(text)
	}
	return all.String()
}

// end deletes what the test left, and shows the daemon's log if it failed.
func (w *weft) end() {
	for _, name := range w.names() {
		w.run("link", "del", name)
	}
	if err := w.ended(); err != nil {
		w.t.Errorf("%s: %v", w.host.Name, err)
		vteps.Quit(w.dir)
	}
	if w.t.Failed() {
		w.t.Logf("%s: daemon's log:\n%s", w.host.Name, w.log())
	}
	_ = os.RemoveAll(w.dir)
}
