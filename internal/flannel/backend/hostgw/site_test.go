package hostgw

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

const soon = 20 * time.Second

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ip(s string) netip.Addr       { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// config is that of all tests; only addresses that are enabled count.
func config(t *testing.T, text string) *netconf.Config {
	t.Helper()
	cfg, err := netconf.Parse([]byte(text))
	check(t, err)
	return cfg
}

const dual = `{"Network":"172.7.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:7::/48","Backend":{"Type":"host-gw"}}`

// member is a node of the network, one container of it, and its backend.
type member struct {
	t *testing.T
	*lab.Host
	container *lab.Host
	node      backend.Node
	lease     lease.Lease
	backend   backend.Backend
	logs      *observer.ObservedLogs

	// addresses of the container
	v4, v6 netip.Addr
}

// newMember makes a node with the number that its addresses end in. It is yet
// to be plugged in.
func newMember(t *testing.T, cfg *netconf.Config, number, wire string) *member {
	t.Helper()
	m := &member{
		t: t, Host: lab.TestHost(t, "h"+number), container: lab.TestHost(t, "c"+number),
		v4: ip("172.7." + number + ".2"), v6: ip("fd00:7:0:" + number + "::2"),
	}
	m.node = backend.Node{
		Interface: "eth0", MTU: 1500,
		Addr: ip("10.4." + wire + "." + number), Addr6: ip("fd04:" + wire + "::" + number),
	}
	m.node.Public, m.node.Public6 = m.node.Addr, m.node.Addr6
	m.lease = lease.Lease{
		Subnet: lease.Subnet{IPv4: prefix("172.7." + number + ".0/24"), IPv6: prefix("fd00:7:0:" + number + "::/64")},
		Record: lease.Record{PublicIP: m.node.Public, PublicIPv6: m.node.Public6, BackendType: netconf.TypeHostGW},
	}
	core, logs := observer.New(zapcore.DebugLevel)
	m.logs = logs
	m.backend = New(m.node, cfg, zap.New(core))
	bridge4, bridge6 := ip("172.7."+number+".1"), ip("fd00:7:0:"+number+"::1")
	check(t, lab.Connect(
		lab.Port{Host: m.Host, Dev: "docker0", Addrs: []netip.Prefix{netip.PrefixFrom(bridge4, 24), netip.PrefixFrom(bridge6, 64)}},
		lab.Port{Host: m.container, Addrs: []netip.Prefix{netip.PrefixFrom(m.v4, 24), netip.PrefixFrom(m.v6, 64)}},
	))
	check(t, m.container.AddRoute(prefix("0.0.0.0/0"), "eth0", bridge4))
	check(t, m.container.AddRoute(prefix("::/0"), "eth0", bridge6))
	for _, knob := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		check(t, m.Sysctl(knob, "1"))
	}
	return m
}

func (m *member) port() lab.Port {
	return lab.Port{Host: m.Host, Addrs: []netip.Prefix{netip.PrefixFrom(m.node.Addr, 24), netip.PrefixFrom(m.node.Addr6, 64)}}
}

// site is what the tutorials have: two nodes on 10.4.7.0/24, and a third behind
// a router.
type site struct {
	h21, h22, h23 *member
	router        *lab.Host
}

func newSite(t *testing.T, cfg *netconf.Config) *site {
	t.Helper()
	lab.NeedBridge(t)
	s := &site{
		h21: newMember(t, cfg, "21", "7"), h22: newMember(t, cfg, "22", "7"), h23: newMember(t, cfg, "23", "8"),
		router: lab.TestHost(t, "router"),
	}
	gw4, gw6 := ip("10.4.7.1"), ip("fd04:7::1")
	wire, err := lab.NewSwitch(s.h21.port(), s.h22.port(),
		lab.Port{Host: s.router, Addrs: []netip.Prefix{netip.PrefixFrom(gw4, 24), netip.PrefixFrom(gw6, 64)}})
	check(t, err)
	t.Cleanup(func() { wire.Close() })
	check(t, lab.Connect(lab.Port{Host: s.router, Dev: "eth1", Addrs: []netip.Prefix{prefix("10.4.8.1/24"), prefix("fd04:8::1/64")}}, s.h23.port()))
	for _, knob := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} {
		check(t, s.router.Sysctl(knob, "1"))
	}
	for _, m := range []*member{s.h21, s.h22} {
		check(t, m.AddRoute(prefix("0.0.0.0/0"), "eth0", gw4))
		check(t, m.AddRoute(prefix("::/0"), "eth0", gw6))
	}
	check(t, s.h23.AddRoute(prefix("0.0.0.0/0"), "eth0", ip("10.4.8.1")))
	check(t, s.h23.AddRoute(prefix("::/0"), "eth0", ip("fd04:8::1")))
	return s
}

// start takes the node as far as having its lease.
func (m *member) start() {
	m.t.Helper()
	check(m.t, m.Do(func() error {
		if _, err := m.backend.Prepare(context.Background()); err != nil {
			return err
		}
		_, err := m.backend.Start(context.Background(), m.lease)
		return err
	}))
}

func (m *member) reset(peers ...*member) error {
	var leases []lease.Lease
	for _, p := range peers {
		leases = append(leases, p.lease)
	}
	return m.Do(func() error { return m.backend.Reset(context.Background(), leases) })
}

// run has the node's backend kept until the end of the test. It was reset.
func (m *member) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.backend.Run(ctx) }()
	m.t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			m.t.Errorf("Run ended with %v", err)
		}
	})
}
