package lantest

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/backend/udp"
	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
)

// agent is a backend in a machine, driven as an agent does, with the lease that
// it published. Several may follow each other in one machine, as processes do.
type agent struct {
	backend.Backend
	*machine
	own  lease.Lease
	mtu  int
	logs *observer.ObservedLogs
}

// Configs of networks.
const (
	seed002   = `{"Network": "172.7.0.0/16", "Backend": {"Type": "VxLAN"}}`
	dualStack = `{"Network": "172.7.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:7::/48", "Backend": {"Type": "vxlan"}}`
	seed003   = `{ "Network": "10.0.0.0/16" }`
)

// subnet is one of a config's network.
func subnet(config, which string) lease.Subnet {
	if config == seed003 {
		return lease.Subnet{IPv4: pfx("10.0." + which + ".0/24")}
	}
	s := lease.Subnet{IPv4: pfx("172.7." + which + ".0/24")}
	if config == dualStack {
		s.IPv6 = pfx("fd00:7:0:" + which + "::/64")
	}
	return s
}

// newAgent makes a backend that has not been asked for anything yet.
func (m *machine) newAgent(config string, datapath vxlan.Datapath) *agent {
	m.t.Helper()
	m.node.Index = m.device("eth0").Index
	cfg, err := netconf.Parse([]byte(config))
	check(m.t, err)
	core, logs := observer.New(zap.DebugLevel)
	a := &agent{machine: m, logs: logs}
	if _, ok := cfg.Backend.(*netconf.UDP); ok {
		a.Backend = udp.New(m.node, cfg, udp.Options{Daemon: m.daemon(), Log: zap.New(core)})
	} else {
		a.Backend = vxlan.New(m.node, cfg, vxlan.Options{Datapath: datapath, Daemon: m.daemon(), Log: zap.New(core)})
	}
	m.t.Cleanup(func() {
		if m.t.Failed() {
			for _, e := range logs.All() {
				m.t.Logf("%s: agent: %s %v", m.Name, e.Message, e.ContextMap())
			}
		}
	})
	return a
}

// agent makes a backend, and prepares and starts it.
func (m *machine) agent(config string, datapath vxlan.Datapath, s lease.Subnet) *agent {
	m.t.Helper()
	a := m.newAgent(config, datapath)
	check(m.t, a.prepare())
	check(m.t, a.start(s))
	return a
}

func (a *agent) prepare() error {
	return a.Do(func() (err error) {
		a.own.Record, err = a.Prepare(a.t.Context())
		return err
	})
}

func (a *agent) start(s lease.Subnet) error {
	a.own.Subnet, a.own.Name = s, s.Key()
	return a.Do(func() (err error) {
		a.mtu, err = a.Start(a.t.Context(), a.own)
		return err
	})
}

// run starts Run. The returned function ends it, as does the test's end.
func (a *agent) run() (stop func()) {
	ctx, cancel := context.WithCancel(a.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Do(func() error { return a.Run(ctx) }) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-done; err != nil {
				a.t.Errorf("%s: Run: %v", a.Name, err)
			}
		}
	}
	a.t.Cleanup(stop)
	return stop
}

func (a *agent) reset(peers ...lease.Lease) error {
	return a.Do(func() error { return a.Reset(a.t.Context(), peers) })
}

func (a *agent) apply(events ...registry.Event) error {
	return a.Do(func() error { return a.Apply(a.t.Context(), events) })
}

func (a *agent) cleanup() error {
	return a.Do(func() error { return a.Cleanup(a.t.Context()) })
}

// said counts the log lines with the text.
func (a *agent) said(text string) int {
	n := 0
	for _, e := range a.logs.All() {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

// acquaint tells each agent of the others.
func acquaint(t *testing.T, agents ...*agent) {
	t.Helper()
	for _, a := range agents {
		var peers []lease.Lease
		for _, b := range agents {
			if b != a {
				peers = append(peers, b.own)
			}
		}
		check(t, a.reset(peers...))
	}
}
