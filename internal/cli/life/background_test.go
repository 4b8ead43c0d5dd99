package life

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/lab"
)

func TestFirstLinkStartsADaemonThatEndsAfterTheLast(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	info, err := os.Stat(m.socket())
	check(t, err)
	if info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("socket has mode %v", info.Mode())
	}
	if _, err := os.Stat(m.file(control.RunDir.Log)); err != nil {
		t.Errorf("no log beside it: %v", err)
	}
	first := m.daemon()
	m.add("vx1", 6)
	if got := m.processes(); !slices.Equal(got, []int{first}) {
		t.Errorf("processes %v, want %d alone", got, first)
	}
	m.must("link del vx0")
	if got := m.names(); !slices.Equal(got, []string{"vx1"}) {
		t.Errorf("links %v", got)
	}
	m.must("link delete dev vx1")
	m.mustEnd()
}

func TestDeletionByIPEndsTheDaemon(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	check(t, m.Delete("vx0"))
	m.mustEnd()
}

// When the command is back, everything that it started must be gone again.
func TestFirstLinkThatFailsLeavesNothing(t *testing.T) {
	m := newMachine(t, "a")
	for line, want := range map[string]string{
		"link add lo type vxlan id 5 dstport 4789":           "lo",
		"link add vx0 type vxlan id 5 dstport 4789 dev eth9": "eth9",
	} {
		m.refuse(line, want)
		if err := m.left(); err != nil {
			t.Errorf("weft %s left %v", line, err)
		}
		if _, err := os.Stat(string(m.dir)); !os.IsNotExist(err) {
			t.Errorf("weft %s left the run directory: %v", line, err)
		}
	}
}

func TestLinkThatFailsBesideAnotherLeavesThatOne(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	m.refuse("link add vx1 type vxlan id 5 dstport 4789", "vx0")
	m.refuse("link add vx0 type vxlan id 6 dstport 4789", "vx0")
	if got := m.names(); !slices.Equal(got, []string{"vx0"}) {
		t.Errorf("links %v", got)
	}
}

// All start at once; one daemon must come of it, with all their links.
func TestFirstLinksAtOnceStartOneDaemon(t *testing.T) {
	m := newMachine(t, "a")
	const n = 8
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			out, err := m.Run(m.env(), "/proc/self/exe", "link", "add", fmt.Sprintf("vx%d", i),
				"type", "vxlan", "id", fmt.Sprint(i), "dstport", "4789")
			if err != nil || out.Status != 0 {
				t.Errorf("vx%d: %v, status %d, %s", i, err, out.Status, out.Stderr)
			}
		})
	}
	wg.Wait()
	if got := m.names(); len(got) != n {
		t.Errorf("links %v, want %d", got, n)
	}
	if got := m.processes(); len(got) != 1 {
		t.Errorf("processes %v, want one", got)
	}
}

// One of several that want the same name gets it, and the others are refused
// without waiting for anything.
func TestSameNameAtOnce(t *testing.T) {
	m := newMachine(t, "a")
	var mu sync.Mutex
	var wg sync.WaitGroup
	statuses := []int{}
	begun := time.Now()
	for i := range 4 {
		wg.Go(func() {
			out, err := m.Run(m.env(), "/proc/self/exe", "link", "add", "vx0", "type", "vxlan", "id", fmt.Sprint(i), "dstport", "4789")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses = append(statuses, out.Status)
		})
	}
	wg.Wait()
	slices.Sort(statuses)
	if !slices.Equal(statuses, []int{0, 1, 1, 1}) || time.Since(begun) > soon {
		t.Errorf("statuses %v after %v, want one success at once", statuses, time.Since(begun))
	}
	if got := m.names(); !slices.Equal(got, []string{"vx0"}) {
		t.Errorf("links %v", got)
	}
}

// The daemon is on its way out after each deletion, and nearer to its end each
// time the add comes a little later.
func TestAddMeetsADaemonOnItsWayOut(t *testing.T) {
	m := newMachine(t, "a")
	for i := range 16 {
		m.add("vx0", 5)
		m.must("link del vx0")
		if i%2 == 1 { // leave it the time of one process
			m.names()
		}
	}
	m.mustEnd()
}

func TestKilledDaemonIsReplaced(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	first := m.daemon()
	check(t, syscall.Kill(first, syscall.SIGKILL))
	check(t, lab.Eventually(soon, func() error {
		if _, err := m.Device("vx0"); err == nil {
			return fmt.Errorf("vx0 outlives its daemon")
		}
		return nil
	}))
	if _, err := os.Stat(m.socket()); err != nil {
		t.Fatalf("a killed daemon cannot have removed its socket: %v", err)
	}
	if got := m.names(); len(got) != 0 {
		t.Errorf("links %v of a dead daemon", got)
	}
	m.refuse("link del vx0", `"vx0"`)
	m.add("vx0", 5)
	if second := m.daemon(); second == first {
		t.Errorf("the same daemon %d", second)
	}
	m.must("link del vx0")
}

func TestSignalEndsTheDaemonInTheBackground(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	check(t, syscall.Kill(m.daemon(), syscall.SIGTERM))
	m.mustEnd()
	if _, err := m.Device("vx0"); err == nil {
		t.Error("its link is left")
	}
}

// Whoever reads what a command prints to its end must not wait for the daemon,
// nor anybody who holds a lock or a terminal through it.
func TestDaemonHoldsNothingOfItsStarter(t *testing.T) {
	m := newMachine(t, "a")
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", "link", "add", "vx0", "type", "vxlan", "id", "5")
	cmd.Env = append(os.Environ(), m.env()...)
	cmd.Dir = filepath.Dir(string(m.dir))
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = w, w, []*os.File{w, w, w}
	check(t, m.Start(cmd))
	w.Close()
	check(t, r.SetReadDeadline(time.Now().Add(soon)))
	printed, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("the pipe does not end with the command: %v", err)
	}
	if text := string(printed); strings.Count(text, "\n") != 1 || !strings.Contains(text, "8472") {
		t.Errorf("printed %q, want the warning alone", text)
	}
	check(t, cmd.Wait())
	mustBeDetached(t, m.daemon())
}

func mustBeDetached(t *testing.T, pid int) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", pid)
	for link, want := range map[string]string{"cwd": "/", "fd/0": "/dev/null"} {
		if got, err := os.Readlink(proc + link); err != nil || got != want {
			t.Errorf("%s of the daemon is %s, %v, want %s", link, got, err, want)
		}
	}
	stat, err := os.ReadFile(proc + "stat")
	check(t, err)
	fields := strings.Fields(string(stat)[strings.LastIndex(string(stat), ")")+1:])
	if session, tty := fields[3], fields[4]; session != fmt.Sprint(pid) || tty != "0" {
		t.Errorf("session %s, terminal %s, want its own session and none", session, tty)
	}
}

// The daemon's log says why it could not start, and so must the command.
func TestDaemonThatCannotStart(t *testing.T) {
	m := newMachine(t, "a")
	check(t, os.Mkdir(string(m.dir), 0o755))
	check(t, os.Mkdir(m.socket(), 0o755))
	check(t, os.WriteFile(filepath.Join(m.socket(), "in-the-way"), nil, 0o600))
	m.refuse("link add vx0 type vxlan id 5 dstport 4789", "control socket")
	if pids := m.processes(); len(pids) > 0 {
		t.Errorf("processes %v", pids)
	}
	entries, err := os.ReadDir(string(m.dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

func TestRunDirectoryThatCannotBeMade(t *testing.T) {
	m := newMachine(t, "a")
	check(t, os.WriteFile(string(m.dir), nil, 0o600))
	m.dir += "/below"
	m.refuse("link add vx0 type vxlan id 5 dstport 4789", control.EnvRunDir)
}
