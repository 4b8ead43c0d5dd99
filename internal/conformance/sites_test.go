package conformance

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// underlay is the network that tunnels cross: the switch, a router, and behind
// that the two far sites, each in a subnet of its own.
type underlay struct {
	name   string
	sw     netip.Prefix
	router [3]netip.Prefix // to the switch, to each site
	far    [2]netip.Prefix
}

func prefixes(name string, all ...string) underlay {
	p := func(i int) netip.Prefix { return netip.MustParsePrefix(all[i]) }
	return underlay{name, p(0), [3]netip.Prefix{p(1), p(2), p(3)}, [2]netip.Prefix{p(4), p(5)}}
}

var (
	underlay4 = prefixes("IPv4", "192.0.2.17/28", "192.0.2.18/28", "192.0.2.33/28", "192.0.2.49/28", "192.0.2.34/28", "192.0.2.50/28")
	underlay6 = prefixes("IPv6", "2001:db8:3::1/64", "2001:db8:3::2/64", "2001:db8:4::1/64", "2001:db8:5::1/64", "2001:db8:4::2/64", "2001:db8:5::2/64")
)

// sites is what the selftests of Linux are played on: a switch with the device
// under test in a bridge with two local hosts, and behind a router two sites,
// each the kernel's device in a bridge with one host.
//
//	h1 ─┐ switch                                ┌ site1 ─ bridge ─ pod1
//	    ├ bridge ─ link ─ underlay ─ router ────┤
//	h2 ─┘                                       └ site2 ─ bridge ─ pod2
//
// With several segments each has its bridges, hosts and VNI, all over the one
// underlay.
type sites struct {
	underlay
	port     uint16
	sw       *lab.Host
	router   *lab.Host
	far      [2]*lab.Host
	segments []*segment
	fences   fences
	bursts   uint16
}

// segment is one Ethernet that spans the switch and the sites.
type segment struct {
	net    segmentNet
	dev    string // of all three VTEPs
	bridge string // around it
	link   *link  // the device under test
	h1, h2 *lab.Host
	far    [2]*link // the kernel's
	pods   [2]*lab.Host
	// Where frames arrive: at h2, and out of the far links.
	tallies [3]*tally
}

// segmentNet has the addresses of a segment's hosts: h1, h2, pod1, pod2.
type segmentNet struct {
	vni  uint32
	net4 string // the first three bytes
	net6 string // the first half
}

var (
	net1000 = segmentNet{1000, "192.0.2", "2001:db8:1"}
	net2000 = segmentNet{2000, "198.51.100", "2001:db8:2"}
)

// address is that of a segment's host n: 1 h1, 2 h2, 3 pod1, 4 pod2.
func (s *segmentNet) address(v6 bool, n int) netip.Addr {
	if v6 {
		return netip.MustParseAddr(fmt.Sprintf("%s::%d", s.net6, n))
	}
	return netip.MustParseAddr(fmt.Sprintf("%s.%d", s.net4, n))
}

// addrs are the addresses of a host with their prefixes.
func (s *segmentNet) addrs(n int) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(s.address(false, n), 28), netip.PrefixFrom(s.address(true, n), 64)}
}

// newSites lays the underlay out; segments are added to it.
func newSites(t *testing.T, u underlay, port uint16) *sites {
	t.Helper()
	lab.NeedBridge(t)
	s := &sites{underlay: u, port: port, sw: lab.TestHost(t, "switch"), router: lab.TestHost(t, "router")}
	s.join(t, s.sw, u.sw, 0)
	for i := range s.far {
		s.far[i] = lab.TestHost(t, fmt.Sprintf("site%d", i+1))
		s.join(t, s.far[i], u.far[i], i+1)
		s.route(t, s.far[i], i+1, u.sw, u.far[1-i])
	}
	check(t, s.router.Sysctl("net.ipv4.ip_forward", "1"))
	check(t, s.router.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	s.routeSwitch(t)
	return s
}

// routeSwitch gives the switch its routes to the sites.
func (s *sites) routeSwitch(t *testing.T) {
	t.Helper()
	s.route(t, s.sw, 0, s.underlay.far[:]...)
}

// join wires a host to the router's port i.
func (s *sites) join(t *testing.T, h *lab.Host, p netip.Prefix, i int) {
	t.Helper()
	check(t, lab.Connect(
		lab.Port{Host: h, Addrs: []netip.Prefix{p}},
		lab.Port{Host: s.router, Dev: fmt.Sprintf("port%d", i), Addrs: []netip.Prefix{s.underlay.router[i]}},
	))
}

// route gives a host on the router's port i routes to other subnets.
func (s *sites) route(t *testing.T, h *lab.Host, i int, to ...netip.Prefix) {
	t.Helper()
	for _, p := range to {
		check(t, h.AddRoute(p, "eth0", s.underlay.router[i].Addr()))
	}
}

// addSegment makes a segment: the device under test of kind k, changed by
// adjust, with both sites as remotes; and the sites' devices, with the others.
func (s *sites) addSegment(t *testing.T, k kind, n segmentNet, adjust func(*spec)) *segment {
	t.Helper()
	g := &segment{net: n, dev: fmt.Sprintf("vx%d", n.vni), bridge: fmt.Sprintf("br%d", n.vni)}
	sp := spec{VXLAN: lab.VXLAN{Name: g.dev, ID: n.vni, Port: s.port, Local: s.underlay.sw.Addr()}}
	if adjust != nil {
		adjust(&sp)
	}
	check(t, s.sw.AddBridge(g.bridge))
	if len(s.segments) > 0 {
		g.link = s.segments[0].link.sibling(t, sp)
	} else {
		g.link = newLink(t, s.sw, k, sp)
	}
	check(t, s.sw.SetMaster(g.bridge, g.dev))
	g.h1 = s.access(t, s.sw, g, "h1", n.addrs(1))
	g.h2 = s.access(t, s.sw, g, "h2", n.addrs(2))
	s.flood(t, g)
	for i, h := range s.far {
		check(t, h.AddBridge(g.bridge))
		local := s.underlay.far[i].Addr()
		g.far[i] = newLink(t, h, kernel, spec{VXLAN: lab.VXLAN{Name: g.dev, ID: n.vni, Port: s.port, Local: local, UDP6ZeroCSumRx: local.Is6()}})
		g.far[i].fdb(t, "append", zeroMAC, "dst", s.underlay.sw.Addr().String())
		g.far[i].fdb(t, "append", zeroMAC, "dst", s.underlay.far[1-i].Addr().String())
		check(t, h.SetMaster(g.bridge, g.dev))
		g.pods[i] = s.access(t, h, g, fmt.Sprintf("pod%d", i+1), n.addrs(3+i))
		g.tallies[i+1] = newTally(t, h, g.dev)
	}
	g.tallies[0] = newTally(t, g.h2, "eth0")
	s.segments = append(s.segments, g)
	return g
}

// access wires a fresh host to the segment's bridge in h, by a port that is
// named after it.
func (s *sites) access(t *testing.T, h *lab.Host, g *segment, name string, addrs []netip.Prefix) *lab.Host {
	t.Helper()
	host := lab.TestHost(t, g.port(name))
	check(t, lab.Connect(lab.Port{Host: h, Dev: g.port(name)}, lab.Port{Host: host, Addrs: addrs}))
	check(t, h.SetMaster(g.bridge, g.port(name)))
	return host
}

// port names the device of the segment's bridge that leads to a host.
func (g *segment) port(host string) string { return fmt.Sprintf("%s.%d", host, g.net.vni) }

// flood makes both sites remotes of the segment's default entry.
func (s *sites) flood(t *testing.T, g *segment) {
	t.Helper()
	for _, far := range s.underlay.far {
		g.link.fdb(t, "append", zeroMAC, "dst", far.Addr().String())
	}
}

// unflood takes them out again.
func (s *sites) unflood(t *testing.T, g *segment) {
	t.Helper()
	for _, far := range s.underlay.far {
		g.link.fdb(t, "del", zeroMAC, "dst", far.Addr().String())
	}
}
