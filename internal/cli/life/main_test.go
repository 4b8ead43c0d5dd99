package life

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/cli"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/lab"
)

// actAsCLI makes the test binary be weft: for the commands that tests run, and
// for the daemon that these start, which inherits the environment.
const actAsCLI = "WEFT_ACT_AS_CLI"

// soon is long enough for anything that is not stuck.
const soon = 10 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(actAsCLI) == "1" {
		os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	lab.Main(m)
}

// machine is a host with a run directory of its own, which does not exist
// before weft makes it.
type machine struct {
	*lab.Host
	t   *testing.T
	dir control.RunDir
}

func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	lab.NeedTUN(t)
	base, err := os.MkdirTemp(lab.RunDir(), "life")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	return &machine{lab.TestHost(t, name), t, control.RunDir(filepath.Join(base, "weft"))}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// env is that of weft's processes. Under the race detector each would linger
// for a second after its end. A user who may not raise the receive buffer is warned
// of it, and what was warned of stays in the log: they have the system's buffer.
func (m *machine) env() []string {
	return []string{actAsCLI + "=1", control.EnvRunDir + "=" + string(m.dir), "GORACE=atexit_sleep_ms=0", "WEFT_RCVBUF=0"}
}

// run runs one line of weft to its end.
func (m *machine) run(line string) lab.Output {
	m.t.Helper()
	out, err := m.Run(m.env(), "/proc/self/exe", strings.Fields(line)...)
	check(m.t, err)
	return out
}

// must runs a line that has to succeed.
func (m *machine) must(line string) lab.Output {
	m.t.Helper()
	out := m.run(line)
	if out.Status != 0 {
		m.t.Fatalf("weft %s: status %d, %s\n%s", line, out.Status, out.Stderr, m.log())
	}
	return out
}

// refuse runs a line that has to fail with a message.
func (m *machine) refuse(line, want string) {
	m.t.Helper()
	out := m.run(line)
	if out.Status != 1 || !strings.HasPrefix(out.Stderr, "weft: ") || !strings.Contains(out.Stderr, want) {
		m.t.Errorf("weft %s: status %d, %q, want status 1 and %q", line, out.Status, out.Stderr, want)
	}
}

// add adds a link with this VNI.
func (m *machine) add(name string, vni int) {
	m.t.Helper()
	m.must(fmt.Sprintf("link add %s type vxlan id %d dstport 4789", name, vni))
}

// names are the links that `weft link show` finds.
func (m *machine) names() []string {
	m.t.Helper()
	var links []struct{ IfName string }
	check(m.t, json.Unmarshal([]byte(m.must("link show -j").Stdout), &links))
	names := []string{}
	for _, l := range links {
		names = append(names, l.IfName)
	}
	return names
}

func (m *machine) file(of func(control.RunDir, uint64) string) string {
	m.t.Helper()
	inode, err := m.Inode()
	check(m.t, err)
	return of(m.dir, inode)
}

func (m *machine) socket() string { return m.file(control.RunDir.Socket) }

func (m *machine) log() string {
	text, _ := os.ReadFile(m.file(control.RunDir.Log))
	return string(text)
}

// daemon is the process id of the machine's daemon.
func (m *machine) daemon() int {
	m.t.Helper()
	text, err := os.ReadFile(m.file(control.RunDir.Lock))
	check(m.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	check(m.t, err)
	return pid
}

// processes are those in the machine's network namespace, but for this one.
func (m *machine) processes() []int {
	m.t.Helper()
	inode, err := m.Inode()
	check(m.t, err)
	own, found := fmt.Sprintf("net:[%d]", inode), []int{}
	all, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, path := range all {
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		if ns, _ := os.Readlink(path); ns == own && pid != os.Getpid() && !isZombie(pid) {
			found = append(found, pid)
		}
	}
	return found
}

// isZombie tells a process that has ended but that nobody has waited for: in a
// private world there may be no init that does.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// left is what there is of the machine's weft: processes, and files of the run
// directory, which may hold those of other namespaces too.
func (m *machine) left() error {
	m.t.Helper()
	if pids := m.processes(); len(pids) > 0 {
		return fmt.Errorf("processes %v", pids)
	}
	files, _ := filepath.Glob(strings.TrimSuffix(m.socket(), "sock") + "*")
	if len(files) > 0 {
		return fmt.Errorf("files %v", files)
	}
	return nil
}

// mustEnd waits until nothing is left.
func (m *machine) mustEnd() {
	m.t.Helper()
	if err := lab.Eventually(soon, m.left); err != nil {
		m.t.Errorf("left: %v\n%s", err, m.log())
	}
}
