//go:build linux

package lab_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

func TestRun(t *testing.T) {
	h := lab.TestHost(t, "a")
	inode, err := h.Inode()
	check(t, err)
	out, err := h.Run([]string{"WORD=weft"}, "sh", "-c", "readlink /proc/self/ns/net; echo $WORD >&2; exit 7")
	check(t, err)
	want := lab.Output{Stdout: fmt.Sprintf("net:[%d]\n", inode), Stderr: "weft\n", Status: 7}
	if out != want {
		t.Errorf("%+v, want %+v", out, want)
	}
	if out, _ := h.Run(nil, "sh", "-c", "kill -9 $$"); out.Status != 128+9 {
		t.Errorf("a killed command: %+v", out)
	}
	if _, err := h.Run(nil, "/no/such/command"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command that is not there: %v", err)
	}
}

// TestRunLeavesADaemon has a command put a process into the background, which
// holds its output open: Run must return, and Close must end it.
func TestRunLeavesADaemon(t *testing.T) {
	h := lab.TestHost(t, "a")
	out, err := h.Run(nil, "sh", "-c", "sleep 600 & echo $!")
	check(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(out.Stdout))
	check(t, err)
	check(t, syscall.Kill(pid, 0))
	check(t, h.Close())
	if running(pid) {
		t.Errorf("process %d outlived its host", pid)
	}
}

func TestProcess(t *testing.T) {
	h := lab.TestHost(t, "a")
	p, err := h.Spawn(nil, "sh", "-c", "trap 'echo bye; exit 3' TERM; echo hello; while :; do sleep 0.01; done")
	check(t, err)
	check(t, lab.Eventually(waitLimit, func() error {
		if p.Stdout() != "hello\n" {
			return fmt.Errorf("printed %q, %q", p.Stdout(), p.Stderr())
		}
		return nil
	}))
	if _, err := p.Wait(1); err == nil {
		t.Error("a running process was waited for without an error")
	}
	out, err := p.Stop()
	check(t, err)
	if out.Stdout != "hello\nbye\n" || out.Status != 3 {
		t.Errorf("%+v", out)
	}
	cmd := exec.Command("true")
	check(t, h.Start(cmd))
	check(t, cmd.Wait())
}
