package life

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// batchFile writes a file beside the run directory.
func (m *machine) batchFile(text string) string {
	m.t.Helper()
	path := filepath.Join(filepath.Dir(string(m.dir)), "batch")
	check(m.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const setUp = `# a link with all that belongs to it
link add vx0 type vxlan id 5 dstport 4789 \
    remote 10.99.0.2
fdb append 00:00:00:00:00:00 dev vx0 dst 10.99.0.3
fdb add 02:00:00:00:00:05 dev vx0 dst 10.99.0.3 static
addr add 10.5.0.1/24 dev vx0
link set vx0 mtu 1400 address 02:00:00:00:00:01 up
`

const setUpFDB = `02:00:00:00:00:05 dst 10.99.0.3 self static
00:00:00:00:00:00 dst 10.99.0.2 self permanent
00:00:00:00:00:00 dst 10.99.0.3 self permanent
`

// mustBeSetUp checks all that setUp sets.
func (m *machine) mustBeSetUp() {
	m.t.Helper()
	d, err := m.Device("vx0")
	check(m.t, err)
	if d.Flags&net.FlagUp == 0 || d.MTU != 1400 || d.MAC.String() != "02:00:00:00:00:01" || !slices.Contains(d.Addresses, netip.MustParsePrefix("10.5.0.1/24")) {
		m.t.Errorf("device %+v", d)
	}
	if got := m.must("fdb show dev vx0").Stdout; got != setUpFDB {
		m.t.Errorf("table\n%swant\n%s", got, setUpFDB)
	}
}

// The daemon is ready when its file has been run, and what the file says comes
// back after it was killed.
func TestDaemonRunsABatchBeforeItIsReady(t *testing.T) {
	m := newMachine(t, "a")
	file := m.batchFile(setUp)
	p := m.foreground("--batch", file)
	m.mustBeSetUp()
	check(t, p.Signal(syscall.SIGKILL))
	_, _ = p.Wait(soon)
	p = m.foreground("--batch", file)
	m.mustBeSetUp()
	check(t, p.Signal(syscall.SIGTERM))
	if out, err := p.Wait(soon); err != nil || out.Status != 0 {
		t.Errorf("%v, status %d, %s", err, out.Status, out.Stderr)
	}
	m.mustEnd()
}

func TestDaemonWhoseBatchFails(t *testing.T) {
	m := newMachine(t, "a")
	file := m.batchFile(setUp + "fdb add 02:00:00:00:00:06 dev vx0 dst 2001:db8::1\nlink add vx1 type vxlan id 6\n")
	out := m.run("daemon --batch " + file)
	if out.Status != 1 || !strings.Contains(out.Stderr, "Address family not supported") || !strings.Contains(out.Stderr, fmt.Sprintf("\nCommand failed %s:8\n", file)) {
		t.Errorf("status %d, %s", out.Status, out.Stderr)
	}
	if _, err := m.Device("vx0"); err == nil {
		t.Error("its link is left")
	}
	if err := m.left(); err != nil {
		t.Errorf("left: %v", err)
	}
}

// A daemon that waits for the next line of a pipe ends when it is told to.
func TestDaemonIsToldToEndInItsBatch(t *testing.T) {
	m := newMachine(t, "a")
	path := filepath.Join(filepath.Dir(string(m.dir)), "pipe")
	check(t, syscall.Mkfifo(path, 0o600))
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer pipe.Close()
	_, err = pipe.WriteString("link add vx0 type vxlan id 5 dstport 4789\n")
	check(t, err)
	p, err := m.Spawn(m.env(), "/proc/self/exe", "daemon", "--batch", path)
	check(t, err)
	check(t, lab.Eventually(soon, func() error { _, err := m.Device("vx0"); return err }))
	check(t, p.Signal(syscall.SIGTERM))
	if out, err := p.Wait(soon); err != nil || out.Status != 0 {
		t.Errorf("%v, status %d, %s", err, out.Status, out.Stderr)
	}
	m.mustEnd()
}

// The first link of a batch starts the daemon as any first link does.
func TestBatchStartsADaemon(t *testing.T) {
	m := newMachine(t, "a")
	m.must("-batch " + m.batchFile(setUp))
	m.mustBeSetUp()
	m.must("link del vx0")
	m.mustEnd()
}

func TestLinkSetChangesTheDevice(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	m.must("link set dev vx0 name vx9 mtu 1300 address 2:0:0:0:0:9")
	m.must("link set vx9 ageing 20 nolearning up")
	d, err := m.Device("vx9")
	check(t, err)
	if d.Flags&net.FlagUp == 0 || d.MTU != 1300 || d.MAC.String() != "02:00:00:00:00:09" {
		t.Errorf("device %+v", d)
	}
	if got := m.must("link show vx9").Stdout; !strings.Contains(got, " nolearning ttl auto ageing 20 ") {
		t.Errorf("shown as\n%s", got)
	}
	m.must("link set vx9 type vxlan learning")
	m.must("link set vx9 down")
	if d, err := m.Device("vx9"); err != nil || d.Flags&net.FlagUp != 0 {
		t.Errorf("device %+v, %v", d, err)
	}
	m.refuse("link set vx9 name lo", "set name lo: file exists")
	m.refuse("link set vx9 master br7", `no device "br7"`)
	m.refuse("link set vx9 dstport 4790", "Cannot change port.")
	m.must("link del vx9")
	m.mustEnd()
}
