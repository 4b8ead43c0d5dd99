package hostgw

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/lab"
)

// routes are the lines of `ip route` about the network's subnets.
func (m *member) routes() (lines []string) {
	m.t.Helper()
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := m.Netlink().RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		check(m.t, err)
		for _, r := range all {
			link, err := m.Netlink().LinkByIndex(r.LinkIndex)
			check(m.t, err)
			if dst := r.Dst.String(); strings.HasPrefix(dst, "172.7.") || strings.HasPrefix(dst, "fd00:7:") {
				line := dst
				if r.Gw != nil {
					line += " via " + r.Gw.String()
				}
				lines = append(lines, line+" dev "+link.Attrs().Name)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func (m *member) wantRoutes(want ...string) error {
	m.t.Helper()
	if have := m.routes(); !slices.Equal(have, want) {
		return fmt.Errorf("%s has the routes\n%s\nwant\n%s", m.Name, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	return nil
}

// Packets go to a neighbour as they are, MAC addresses and TTL aside, and back.
func TestPacketsGoAsTheyAre(t *testing.T) {
	cfg := config(t, dual)
	s := newSite(t, cfg)
	for _, m := range []*member{s.h21, s.h22} {
		m.start()
	}
	check(t, s.h21.reset(s.h22))
	check(t, s.h22.reset(s.h21))
	check(t, s.h21.wantRoutes(
		"172.7.21.0/24 dev docker0",
		"172.7.22.0/24 via 10.4.7.22 dev eth0",
		"fd00:7:0:21::/64 dev docker0",
		"fd00:7:0:22::/64 via fd04:7::22 dev eth0"))
	check(t, s.h22.wantRoutes(
		"172.7.21.0/24 via 10.4.7.21 dev eth0",
		"172.7.22.0/24 dev docker0",
		"fd00:7:0:21::/64 via fd04:7::21 dev eth0",
		"fd00:7:0:22::/64 dev docker0"))
	c := lab.TestCapture(t, s.h22.Host, "eth0")
	check(t, s.h21.container.Ping(s.h22.v4, lab.PingOptions{Count: 3, Size: 1472, DF: true}).Lost())
	check(t, s.h21.container.Ping(s.h22.v6, lab.PingOptions{Count: 3, Size: 1452}).Lost())
	_, err := lab.Transfer(s.h21.container, s.h22.container, netip.AddrPortFrom(s.h22.v4, 0), 8<<20)
	check(t, err)
	_, err = lab.Transfer(s.h22.container, s.h21.container, netip.AddrPortFrom(s.h21.v6, 0), 8<<20)
	check(t, err)
	between := map[string]bool{}
	for _, f := range c.Stop() {
		p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		if p.Layer(layers.LayerTypeUDP) != nil {
			t.Fatalf("the wire carries UDP: %v", p)
		}
		if n := p.NetworkLayer(); n != nil {
			between[n.NetworkFlow().String()] = true
		}
	}
	for _, want := range []string{
		"172.7.21.2->172.7.22.2", "172.7.22.2->172.7.21.2", "fd00:7:0:21::2->fd00:7:0:22::2", "fd00:7:0:22::2->fd00:7:0:21::2",
	} {
		if !between[want] {
			t.Errorf("the wire carries no packets %s, but %v", want, between)
		}
	}
}

// A node behind a router is named and skipped, the others are served, and it is
// tried again.
func TestNodeBehindRouter(t *testing.T) {
	s := newSite(t, config(t, dual))
	s.h21.start()
	err := s.h21.reset(s.h23, s.h22)
	for _, want := range []string{"nodes are skipped", "route 172.7.23.0/24 via 10.4.8.23 dev eth0: 10.4.8.23 is not directly reachable through eth0",
		"route fd00:7:0:23::/64 via fd04:8::23 dev eth0: fd04:8::23 is not directly reachable through eth0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v does not say %q", err, want)
		}
	}
	near := []string{"172.7.21.0/24 dev docker0", "172.7.22.0/24 via 10.4.7.22 dev eth0",
		"fd00:7:0:21::/64 dev docker0", "fd00:7:0:22::/64 via fd04:7::22 dev eth0"}
	check(t, s.h21.wantRoutes(near...))
	s.h21.run()
	check(t, s.h21.AddAddr("eth0", prefix("10.4.8.21/24")))
	check(t, s.h21.AddAddr("eth0", prefix("fd04:8::21/64")))
	all := append(slices.Clone(near), "172.7.23.0/24 via 10.4.8.23 dev eth0", "fd00:7:0:23::/64 via fd04:8::23 dev eth0")
	slices.Sort(all)
	check(t, lab.Eventually(soon, func() error { return s.h21.wantRoutes(all...) }))
}

func TestApplyFollowsPeers(t *testing.T) {
	s := newSite(t, config(t, dual))
	m := s.h21
	m.start()
	check(t, m.reset())
	own := []string{"172.7.21.0/24 dev docker0", "fd00:7:0:21::/64 dev docker0"}
	check(t, m.wantRoutes(own...))
	apply := func(events ...registry.Event) {
		t.Helper()
		check(t, m.Do(func() error { return m.backend.Apply(context.Background(), events) }))
	}
	with := func(more ...string) []string {
		lines := append(slices.Clone(own), more...)
		slices.Sort(lines)
		return lines
	}
	a := s.h22.lease
	apply(registry.Event{Kind: registry.Added, Lease: a})
	check(t, m.wantRoutes(with("172.7.22.0/24 via 10.4.7.22 dev eth0", "fd00:7:0:22::/64 via fd04:7::22 dev eth0")...))

	b := a // its node has another address
	b.PublicIP, b.PublicIPv6 = ip("10.4.7.99"), ip("fd04:7::99")
	apply(registry.Event{Kind: registry.Changed, Lease: b, Old: a})
	check(t, m.wantRoutes(with("172.7.22.0/24 via 10.4.7.99 dev eth0", "fd00:7:0:22::/64 via fd04:7::99 dev eth0")...))

	c := b // its node has changed to another backend
	c.BackendType = netconf.TypeVXLAN
	apply(registry.Event{Kind: registry.Changed, Lease: c, Old: b})
	check(t, m.wantRoutes(own...))

	// Events that undo each other, together.
	apply(registry.Event{Kind: registry.Changed, Lease: a, Old: c}, registry.Event{Kind: registry.Removed, Lease: a},
		registry.Event{Kind: registry.Added, Lease: b})
	check(t, m.wantRoutes(with("172.7.22.0/24 via 10.4.7.99 dev eth0", "fd00:7:0:22::/64 via fd04:7::99 dev eth0")...))
	apply(registry.Event{Kind: registry.Removed, Lease: b})
	check(t, m.wantRoutes(own...))
}

// What stands in etcd may be anything. It costs nobody else their routes.
func TestHostileLeases(t *testing.T) {
	s := newSite(t, config(t, dual))
	m := s.h21
	m.start()
	evil := func(v4, v6, public, public6 string) lease.Lease {
		l := lease.Lease{Record: lease.Record{PublicIP: ip(public), BackendType: netconf.TypeHostGW}}
		l.IPv4 = prefix(v4)
		if v6 != "" {
			l.IPv6 = prefix(v6)
		}
		if public6 != "" {
			l.PublicIPv6 = ip(public6)
		}
		return l
	}
	leases := []lease.Lease{
		evil("0.0.0.0/0", "::/0", "10.4.7.66", "fd04:7::66"),
		evil("10.4.7.0/24", "", "10.4.7.66", ""),
		evil("172.7.21.0/24", "fd00:7:0:99::/64", "10.4.7.66", "fd04:7::66"), // under another key than this node's
		evil("172.7.66.0/24", "fd00:7:0:66::/64", "10.4.7.66", ""),           // tells no PublicIPv6
		evil("172.7.67.0/24", "", "127.0.0.1", ""),
		evil("172.7.68.0/24", "", "224.0.0.1", ""),
		evil("172.7.69.0/24", "", "0.0.0.0", ""),
		evil("172.7.20.0/24", "", "10.4.7.21", ""), // an old one of this node
		s.h22.lease,
	}
	before, err := m.Netlink().RouteList(nil, netlink.FAMILY_ALL)
	check(t, err)
	err = m.Do(func() error { return m.backend.Reset(context.Background(), leases) })
	for _, want := range []string{
		"its subnet 172.7.21.0/24 overlaps", "node 10.4.7.66: it has leased fd00:7:0:66::/64 and does not tell its address",
		"172.7.67.0/24 via 127.0.0.1", "172.7.68.0/24 via 224.0.0.1", "172.7.69.0/24 via 0.0.0.0",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not tell of %s:\n%v", want, err)
		}
	}
	check(t, m.wantRoutes(
		"172.7.21.0/24 dev docker0", "172.7.22.0/24 via 10.4.7.22 dev eth0", "172.7.66.0/24 via 10.4.7.66 dev eth0",
		"fd00:7:0:21::/64 dev docker0", "fd00:7:0:22::/64 via fd04:7::22 dev eth0", "fd00:7:0:99::/64 via fd04:7::66 dev eth0"))
	after, err := m.Netlink().RouteList(nil, netlink.FAMILY_ALL)
	check(t, err)
	if len(after) != len(before)+4 {
		t.Errorf("%d routes became %d, want four more", len(before), len(after))
	}
}

// Another process of the same node takes over what it finds, and takes away
// what is no longer leased; in the end all of it is taken back.
func TestTakeOverAndCleanup(t *testing.T) {
	cfg := config(t, dual)
	s := newSite(t, cfg)
	m := s.h21
	m.start()
	gone := s.h22.lease
	gone.IPv4, gone.IPv6 = prefix("172.7.88.0/24"), prefix("fd00:7:0:88::/64")
	check(t, m.Do(func() error { return m.backend.Reset(context.Background(), []lease.Lease{s.h22.lease, gone}) }))
	if n := len(m.routes()); n != 6 {
		t.Fatalf("routes %v, want six", m.routes())
	}
	events := watchRoutes(t, m.Host)
	m.backend = New(m.node, cfg, m.backend.(*hostgw).log)
	m.start()
	check(t, m.reset(s.h22))
	check(t, m.wantRoutes(
		"172.7.21.0/24 dev docker0", "172.7.22.0/24 via 10.4.7.22 dev eth0",
		"fd00:7:0:21::/64 dev docker0", "fd00:7:0:22::/64 via fd04:7::22 dev eth0"))
	for _, e := range events() {
		if e.Type == unix.RTM_NEWROUTE || !slices.Contains([]string{"172.7.88.0/24", "fd00:7:0:88::/64"}, e.Dst.String()) {
			t.Errorf("a route that had been right was touched: %v", e)
		}
	}
	third := New(m.node, cfg, m.backend.(*hostgw).log)
	check(t, m.Do(func() error { return third.Cleanup(context.Background()) }))
	check(t, m.wantRoutes("172.7.21.0/24 dev docker0", "fd00:7:0:21::/64 dev docker0"))
}

// watchRoutes returns what tells of all changes since.
func watchRoutes(t *testing.T, h *lab.Host) func() []netlink.RouteUpdate {
	t.Helper()
	updates, done := make(chan netlink.RouteUpdate, 100), make(chan struct{})
	check(t, h.Do(func() error { return netlink.RouteSubscribe(updates, done) }))
	t.Cleanup(func() { close(done) })
	return func() (all []netlink.RouteUpdate) {
		t.Helper()
		// The end is a change of the test's own.
		last := prefix("198.51.100.0/24")
		check(t, h.AddRoute(last, "lo", netip.Addr{}))
		for u := range updates {
			if u.Dst != nil && u.Dst.String() == last.String() {
				return all
			}
			all = append(all, u)
		}
		t.Fatal("the watch broke off")
		return nil
	}
}

func TestRefusals(t *testing.T) {
	for want, change := range map[string]func(*member){
		"the public address is 192.0.2.1, that of eth0 is 10.4.7.21, so this node is probably behind a NAT": func(m *member) {
			m.node.Public = ip("192.0.2.1")
		},
		"leave --public-ipv6 out": func(m *member) { m.node.Public6 = ip("2001:db8::1") },
		"eth0 has no address that --public-ipv6 could be": func(m *member) {
			m.node.Addr6, m.node.Public6 = netip.Addr{}, netip.Addr{}
		},
	} {
		m := newMember(t, config(t, dual), "21", "7")
		change(m)
		_, err := New(m.node, config(t, dual), m.backend.(*hostgw).log).Prepare(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

func TestRecordAndMTU(t *testing.T) {
	for text, want := range map[string]string{
		dual: `{"PublicIP":"10.4.7.21","PublicIPv6":"fd04:7::21","BackendType":"host-gw"}`,
		`{"Network":"172.7.0.0/16","Backend":{"Type":"host-gw"}}`: `{"PublicIP":"10.4.7.21","PublicIPv6":null,"BackendType":"host-gw"}`,
	} {
		m := newMember(t, config(t, text), "21", "7")
		rec, err := m.backend.Prepare(context.Background())
		check(t, err)
		value, err := rec.Encode()
		check(t, err)
		if string(value) != want {
			t.Errorf("record %s, want %s", value, want)
		}
		if mtu, err := m.backend.Start(context.Background(), m.lease); mtu != 1500 || err != nil {
			t.Errorf("MTU %d, %v", mtu, err)
		}
	}
}

// A network of IPv4 alone takes no IPv6 subnets, whoever leases some.
func TestIPv4Alone(t *testing.T) {
	s := newSite(t, config(t, `{"Network":"172.7.0.0/16","Backend":{"Type":"host-gw"}}`))
	s.h21.start()
	check(t, s.h21.reset(s.h22))
	check(t, s.h21.wantRoutes("172.7.21.0/24 dev docker0", "172.7.22.0/24 via 10.4.7.22 dev eth0", "fd00:7:0:21::/64 dev docker0"))
}
