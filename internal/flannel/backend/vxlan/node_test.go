package vxlan_test

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/daemon"
	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/backend/userlink"
	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
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

// machine is a host with eth0, its own run directory and, as long as Go's
// runtime is concerned, its own agent.
type machine struct {
	*lab.Host
	t    *testing.T
	weft vtep.Weft
	dir  control.RunDir
	node backend.Node
	logs *observer.ObservedLogs
}

// node is an agent's backend in a machine, with the lease that it published.
type node struct {
	*vxlan.Backend
	*machine
	own lease.Lease
}

// lan is hosts 10.4.7.21, .22 and so on, on one wire.
func lan(t *testing.T, names ...string) []*machine {
	t.Helper()
	var machines []*machine
	var ports []lab.Port
	for i, name := range names {
		h := lab.TestHost(t, name)
		v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 4, 7, byte(21 + i)}), 24)
		v6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0x10, 4, 7, 15: byte(0x21 + i)}), 64)
		ports = append(ports, lab.Port{Host: h, Addrs: []prefix{v4, v6}})
		machines = append(machines, newMachine(t, h, v4.Addr(), v6.Addr()))
	}
	s, err := lab.NewSwitch(ports...)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	for _, m := range machines {
		d, err := m.Device("eth0")
		check(t, err)
		m.node.Index = d.Index
	}
	return machines
}

// noLinger keeps processes from staying for a second under the race detector.
const noLinger = "GORACE=atexit_sleep_ms=0"

func newMachine(t *testing.T, h *lab.Host, v4, v6 netip.Addr) *machine {
	t.Helper()
	dir, err := os.MkdirTemp(lab.RunDir(), "weft")
	check(t, err)
	m := &machine{
		Host: h, t: t, dir: control.RunDir(dir),
		weft: vtep.Weft{Host: h, Env: []string{control.EnvRunDir + "=" + dir, noLinger}},
		node: backend.Node{Interface: "eth0", MTU: 1500, Addr: v4, Addr6: v6, Public: v4, Public6: v6},
	}
	t.Cleanup(m.end)
	return m
}

// end takes back what the agent made.
func (m *machine) end() {
	for _, name := range []string{"flannel.1", "flannel-v6.1"} {
		_, _ = m.weft.Run("link", "del", name)
	}
	if err := lab.Eventually(5*time.Second, m.noDaemon); err != nil {
		m.t.Errorf("%s: %v", m.Name, err)
	}
	if m.t.Failed() && m.logs != nil {
		for _, e := range m.logs.All() {
			m.t.Logf("%s: %s %v", m.Name, e.Message, e.ContextMap())
		}
	}
	_ = os.RemoveAll(string(m.dir))
}

func (m *machine) noDaemon() error {
	sockets, err := m.dir.Sockets()
	if err == nil && len(sockets) > 0 {
		return os.ErrExist
	}
	return err
}

// daemon is how an agent in the machine reaches its daemon. The process that it
// starts is this test's program.
func (m *machine) daemon() *userlink.Daemon {
	m.t.Setenv("WEFT_ACT_AS_WEFT", "1")
	m.t.Setenv("GORACE", strings.TrimPrefix(noLinger, "GORACE="))
	return &userlink.Daemon{
		Dir: m.dir,
		Start: func(ctx context.Context, cfg dataplane.LinkConfig) (control.Response, error) {
			return daemon.Add(ctx, m.dir, cfg)
		},
	}
}

// agent prepares and starts a backend, as an agent of the subnet does.
func (m *machine) agent(config string, datapath vxlan.Datapath, subnet lease.Subnet) *node {
	m.t.Helper()
	cfg, err := netconf.Parse([]byte(config))
	check(m.t, err)
	core, logs := observer.New(zap.DebugLevel)
	m.logs = logs
	n := &node{machine: m, Backend: vxlan.New(m.node, cfg, vxlan.Options{Datapath: datapath, Daemon: m.daemon(), Log: zap.New(core)})}
	check(m.t, m.Do(func() error {
		rec, err := n.Prepare(m.t.Context())
		if err != nil {
			return err
		}
		n.own = lease.Lease{Subnet: subnet, Record: rec, Name: subnet.Key()}
		mtu, err := n.Start(m.t.Context(), n.own)
		if err == nil && mtu != 1450 {
			m.t.Errorf("%s: MTU %d, want 1450", m.Name, mtu)
		}
		return err
	}))
	return n
}

func (n *node) reset(peers ...lease.Lease) error {
	return n.Do(func() error { return n.Reset(n.t.Context(), peers) })
}
