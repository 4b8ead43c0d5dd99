package lantest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/daemon"
	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/backend/userlink"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

type prefix = netip.Prefix

var (
	pfx  = netip.MustParsePrefix
	addr = netip.MustParseAddr
)

// check fails the test at an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon waits until cond is content.
func soon(t *testing.T, cond func() error) {
	t.Helper()
	check(t, lab.Eventually(10*time.Second, cond))
}

// machine is a host with eth0 and a run directory of its own.
type machine struct {
	*lab.Host
	t    *testing.T
	weft vtep.Weft
	dir  control.RunDir
	node backend.Node
}

// lan is hosts 10.4.7.21, .22 and so on, on one wire, as in seed 002.
func lan(t *testing.T, names ...string) []*machine {
	t.Helper()
	lab.NeedBridge(t)
	var machines []*machine
	var ports []lab.Port
	for i, name := range names {
		m := newMachine(t, name, i)
		ports = append(ports, m.port())
		machines = append(machines, m)
	}
	s, err := lab.NewSwitch(ports...)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	return machines
}

// wire is two hosts, for which no bridge is wanted.
func wire(t *testing.T) (a, b *machine) {
	t.Helper()
	a, b = newMachine(t, "h1", 0), newMachine(t, "h2", 1)
	check(t, lab.Connect(a.port(), b.port()))
	return a, b
}

func (m *machine) port() lab.Port {
	return lab.Port{Host: m.Host, Addrs: []prefix{netip.PrefixFrom(m.node.Addr, 24), netip.PrefixFrom(m.node.Addr6, 64)}}
}

func newMachine(t *testing.T, name string, i int) *machine {
	t.Helper()
	h := lab.TestHost(t, name)
	v4 := netip.AddrFrom4([4]byte{10, 4, 7, byte(21 + i)})
	v6 := netip.AddrFrom16([16]byte{0xfd, 0x10, 4, 7, 15: byte(0x21 + i)})
	dir, err := os.MkdirTemp(lab.RunDir(), "weft")
	check(t, err)
	t.Setenv("WEFT_ACT_AS_WEFT", "1") // what the daemon that is started will be
	t.Setenv("GORACE", strings.TrimPrefix(noLinger, "GORACE="))
	m := &machine{
		Host: h, t: t, dir: control.RunDir(dir),
		weft: vtep.Weft{Host: h, Env: []string{control.EnvRunDir + "=" + dir, noLinger}},
		node: backend.Node{Interface: "eth0", MTU: 1500, Addr: v4, Addr6: v6, Public: v4, Public6: v6},
	}
	t.Cleanup(m.end)
	return m
}

// noLinger keeps processes from staying for a second under the race detector.
const noLinger = "GORACE=atexit_sleep_ms=0"

// end takes back what is left of weft's, and shows what the daemon said if the
// test failed.
func (m *machine) end() {
	for _, link := range m.links() {
		_, _ = m.weft.Run("link", "del", link)
	}
	err := lab.Eventually(5*time.Second, func() error {
		sockets, err := m.dir.Sockets()
		if err == nil && len(sockets) > 0 {
			err = fmt.Errorf("daemon is still there: %s", sockets)
		}
		return err
	})
	if err != nil {
		m.t.Errorf("%s: %v", m.Name, err)
	}
	if log, err := os.ReadFile(m.dir.Log(m.inode())); m.t.Failed() && err == nil {
		m.t.Logf("%s: daemon's log:\n%s", m.Name, log)
	}
	_ = os.RemoveAll(string(m.dir))
}

func (m *machine) inode() uint64 {
	inode, err := m.Inode()
	check(m.t, err)
	return inode
}

// links are the names of the daemon's.
func (m *machine) links() (names []string) {
	resp, err := control.Call(context.Background(), m.dir.Socket(m.inode()), control.Request{Op: control.OpList})
	if err == nil {
		for _, l := range resp.Links {
			names = append(names, l.Info.Name)
		}
	}
	return names
}

// daemonPid is the process that holds the links.
func (m *machine) daemonPid() (pid int, err error) {
	text, err := os.ReadFile(m.dir.Lock(m.inode()))
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	return pid, err
}

// must runs a command of weft and returns its lines.
func (m *machine) must(line string) []string {
	m.t.Helper()
	out, err := m.weft.Must(strings.Fields(line)...)
	check(m.t, err)
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

func (m *machine) device(name string) lab.Device {
	m.t.Helper()
	d, err := m.Device(name)
	check(m.t, err)
	return d
}

// daemon is how an agent in the machine reaches its daemon. The process that it
// starts is this test's program.
func (m *machine) daemon() *userlink.Daemon {
	return &userlink.Daemon{
		Dir: m.dir,
		Start: func(ctx context.Context, cfg dataplane.LinkConfig) (control.Response, error) {
			return daemon.Add(ctx, m.dir, cfg)
		},
	}
}

// ping pings another machine's address a few times, once neighbours know each other:
// what they ask may be lost on a machine with much else to do, and is asked again
// after as long as a ping waits.
func (m *machine) ping(to netip.Addr) {
	m.t.Helper()
	soon(m.t, func() error { return m.Ping(to, lab.PingOptions{}).Lost() })
	if err := m.Ping(to, lab.PingOptions{Count: 2}).Lost(); err != nil {
		m.t.Errorf("%s to %v: %v", m.Name, to, err)
	}
}
