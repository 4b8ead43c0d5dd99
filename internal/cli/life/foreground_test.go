package life

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// foreground starts `weft daemon` and waits until systemd would be told.
func (m *machine) foreground(words ...string) *lab.Process {
	m.t.Helper()
	path := filepath.Join(filepath.Dir(string(m.dir)), "notify")
	_ = os.Remove(path)
	states, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	check(m.t, err)
	defer states.Close()
	p, err := m.Spawn(append(m.env(), "NOTIFY_SOCKET="+path), "/proc/self/exe", append([]string{"daemon"}, words...)...)
	check(m.t, err)
	check(m.t, states.SetReadDeadline(time.Now().Add(soon)))
	state := make([]byte, 64)
	n, err := states.Read(state)
	if err != nil || string(state[:n]) != "READY=1" {
		m.t.Fatalf("state %q, %v, %s", state[:n], err, p.Stderr())
	}
	return p
}

func TestDaemonInTheForeground(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		m := newMachine(t, "a")
		p := m.foreground()
		m.add("vx0", 5)
		m.must("link del vx0")
		m.add("vx0", 5) // it outlives its last link
		if got := m.processes(); len(got) != 1 || got[0] != p.Pid() || m.daemon() != p.Pid() {
			t.Errorf("processes %v, want %d alone", got, p.Pid())
		}
		check(t, p.Signal(signal))
		out, err := p.Wait(soon)
		if err != nil || out.Status != 0 {
			t.Errorf("%v: %v, status %d, %s", signal, err, out.Status, out.Stderr)
		}
		if !strings.Contains(out.Stderr, "link added") {
			t.Errorf("log on standard error: %q", out.Stderr)
		}
		if _, err := m.Device("vx0"); err == nil {
			t.Error("its link is left")
		}
		if err := m.left(); err != nil {
			t.Errorf("left: %v", err)
		}
	}
}

func TestOneDaemonForANamespace(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	m.refuse("daemon", fmt.Sprintf("process %d", m.daemon()))
	m.must("link del vx0")
}

// A daemon in the foreground waits for one that is on its way out.
func TestForegroundTakesOver(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	m.must("link del vx0")
	p := m.foreground()
	m.add("vx0", 5)
	if m.daemon() != p.Pid() {
		t.Errorf("daemon %d, want %d", m.daemon(), p.Pid())
	}
}

func TestBackgroundFlagIsNotForPeople(t *testing.T) {
	m := newMachine(t, "a")
	m.refuse("daemon --background", "use `weft daemon` without it")
	if err := m.left(); err != nil {
		t.Errorf("left: %v", err)
	}
}
