package vxlan_test

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

	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
	"github.com/weftnet/weft/internal/lab"
)

const (
	directConfig = `{"Network": "172.7.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:7::/48",
		"Backend": {"Type": "VxLAN", "DirectRouting": true}}`
	encapsulatedConfig = `{"Network": "172.7.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:7::/48", "Backend": {"Type": "VxLAN"}}`
)

// site is what the tutorials have: h1 and h2 on 10.4.7.0/24, and h3 behind a
// router, each with a container.
type site struct {
	*testing.T
	machines   []*machine
	nodes      []*node
	containers []*lab.Host
	router     *lab.Host
}

func (s *site) container4(i int) netip.Addr { return addr(fmt.Sprintf("172.7.%d.2", 21+i)) }
func (s *site) container6(i int) netip.Addr { return addr(fmt.Sprintf("fd00:7:0:%d::2", 21+i)) }

func newSite(t *testing.T) *site {
	t.Helper()
	lab.NeedTUN(t)
	lab.NeedBridge(t)
	s := &site{T: t, machines: lan(t, "h1", "h2"), router: lab.TestHost(t, "router")}
	// The router is on the wire by a wire of its own to each host, so that the
	// switch of lan need not be known: h1 and h2 reach h3 by it alone.
	h3 := newMachine(t, lab.TestHost(t, "h3"), addr("10.4.8.23"), addr("fd10:408::23"))
	s.machines = append(s.machines, h3)
	for i, m := range s.machines {
		dev := fmt.Sprint("eth", i)
		gw4, gw6 := addr(fmt.Sprintf("10.4.1%d.1", i)), addr(fmt.Sprintf("fd10:4:1%d::1", i))
		up := lab.Port{Host: m.Host, Dev: "up0", Addrs: []prefix{netip.PrefixFrom(gw4.Next(), 24), netip.PrefixFrom(gw6.Next(), 64)}}
		if i == 2 {
			gw4, gw6 = addr("10.4.8.1"), addr("fd10:408::1")
			up = lab.Port{Host: m.Host, Addrs: []prefix{pfx("10.4.8.23/24"), pfx("fd10:408::23/64")}}
		}
		check(t, lab.Connect(lab.Port{Host: s.router, Dev: dev, Addrs: []prefix{netip.PrefixFrom(gw4, 24), netip.PrefixFrom(gw6, 64)}}, up))
		if i == 2 {
			up.Dev = "eth0"
		}
		check(t, m.AddRoute(pfx("0.0.0.0/0"), up.Dev, gw4))
		check(t, m.AddRoute(pfx("::/0"), up.Dev, gw6))
		if i < 2 { // the way back to their addresses on the wire
			check(t, s.router.AddRoute(netip.PrefixFrom(m.node.Addr, 32), dev, gw4.Next()))
			check(t, s.router.AddRoute(netip.PrefixFrom(m.node.Addr6, 128), dev, gw6.Next()))
		}
		s.addContainer(i)
	}
	for _, h := range append([]*lab.Host{s.router}, s.machines[0].Host, s.machines[1].Host, s.machines[2].Host) {
		check(t, h.Sysctl("net.ipv4.ip_forward", "1"))
		check(t, h.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	}
	return s
}

func (s *site) addContainer(i int) {
	s.Helper()
	c := lab.TestHost(s, fmt.Sprint("c", i+1))
	v4, v6 := s.container4(i), s.container6(i)
	check(s.T, lab.Connect(
		lab.Port{Host: s.machines[i].Host, Dev: "docker0", MTU: 1450, Addrs: []prefix{netip.PrefixFrom(v4.Prev(), 24), netip.PrefixFrom(v6.Prev(), 64)}},
		lab.Port{Host: c, MTU: 1450, Addrs: []prefix{netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 64)}},
	))
	check(s.T, c.AddRoute(pfx("0.0.0.0/0"), "eth0", v4.Prev()))
	check(s.T, c.AddRoute(pfx("::/0"), "eth0", v6.Prev()))
	s.containers = append(s.containers, c)
}

func subnetOf(i int) lease.Subnet {
	return lease.Subnet{IPv4: pfx(fmt.Sprintf("172.7.%d.0/24", 21+i)), IPv6: pfx(fmt.Sprintf("fd00:7:0:%d::/64", 21+i))}
}

// start starts an agent's backend on each machine. They know each other.
func (s *site) start(config string, kinds ...vxlan.Datapath) {
	s.Helper()
	s.nodes = nil
	for i, m := range s.machines {
		s.nodes = append(s.nodes, m.agent(config, kinds[i], subnetOf(i)))
	}
	for i := range s.nodes {
		check(s.T, s.nodes[i].reset(s.peersOf(i)...))
	}
}

func (s *site) peersOf(i int) (peers []lease.Lease) {
	for j, n := range s.nodes {
		if j != i {
			peers = append(peers, n.own)
		}
	}
	return peers
}

// run has what the backend made kept until the end of the test.
func (n *node) run() {
	ctx, cancel := context.WithCancel(n.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = n.Do(func() error { return n.Run(ctx) })
	}()
	n.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func (n *node) apply(events ...registry.Event) error {
	return n.Do(func() error { return n.Apply(n.t.Context(), events) })
}

// routes are the lines of `ip route` about the subnets of peers.
func (m *machine) routes() (lines []string) {
	m.t.Helper()
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := m.Netlink().RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		check(m.t, err)
		for _, r := range all {
			if dst := r.Dst.String(); r.Gw != nil && (strings.HasPrefix(dst, "172.7.") || strings.HasPrefix(dst, "fd00:7:")) {
				link, err := m.Netlink().LinkByIndex(r.LinkIndex)
				check(m.t, err)
				line := fmt.Sprintf("%s via %v dev %s", dst, r.Gw, link.Attrs().Name)
				if r.Flags&unix.RTNH_F_ONLINK != 0 {
					line += " onlink"
				}
				lines = append(lines, line)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func (m *machine) wantRoutes(want ...string) error {
	if have := m.routes(); !slices.Equal(have, want) {
		return fmt.Errorf("%s has the routes\n%s\nwant\n%s", m.Name, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	return nil
}

// What h1's routes are when h2 is near, and when it is not.
var (
	near = []string{
		"172.7.22.0/24 via 10.4.7.22 dev eth0", "172.7.23.0/24 via 172.7.23.0 dev flannel.1 onlink",
		"fd00:7:0:22::/64 via fd10:407::22 dev eth0", "fd00:7:0:23::/64 via fd00:7:0:23:: dev flannel-v6.1 onlink",
	}
	far = []string{
		"172.7.22.0/24 via 172.7.22.0 dev flannel.1 onlink", "172.7.23.0/24 via 172.7.23.0 dev flannel.1 onlink",
		"fd00:7:0:22::/64 via fd00:7:0:22:: dev flannel-v6.1 onlink", "fd00:7:0:23::/64 via fd00:7:0:23:: dev flannel-v6.1 onlink",
	}
)

// neighbours are the permanent ones of the overlays' devices.
func (m *machine) neighbours() (all []string) {
	m.t.Helper()
	for _, dev := range []string{"flannel.1", "flannel-v6.1"} {
		d, err := m.Device(dev)
		check(m.t, err)
		have, err := m.Netlink().NeighList(d.Index, netlink.FAMILY_ALL)
		check(m.t, err)
		for _, n := range have {
			if n.State&netlink.NUD_PERMANENT != 0 && !n.IP.IsMulticast() {
				all = append(all, n.IP.String())
			}
		}
	}
	slices.Sort(all)
	return all
}

// between says which of the flows that a device saw were encapsulated, and
// which went as they are.
func between(frames []lab.Frame) (asTheyAre, encapsulated map[string]bool) {
	asTheyAre, encapsulated = map[string]bool{}, map[string]bool{}
	for _, f := range frames {
		p := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true})
		if udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP); ok && udp.DstPort == 8472 {
			inner := gopacket.NewPacket(udp.Payload[8:], layers.LayerTypeEthernet, gopacket.NoCopy)
			if n := inner.NetworkLayer(); n != nil {
				encapsulated[n.NetworkFlow().String()] = true
			}
		} else if n := p.NetworkLayer(); n != nil {
			asTheyAre[n.NetworkFlow().String()] = true
		}
	}
	return asTheyAre, encapsulated
}
