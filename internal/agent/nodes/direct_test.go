package nodes

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// Nodes on one wire reach each other's containers without a tunnel, by host-gw and
// by vxlan with DirectRouting. One behind a router is reached through a tunnel, of
// which host-gw has none: it says so, and makes no route that leads nowhere.
func TestDirect(t *testing.T) {
	t.Parallel()
	const directly = `{"Network":"172.7.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}`
	for _, c := range []struct{ name, config, datapath string }{
		{"host-gw", hostGW, "auto"}, {"DirectRouting/user", directly, "user"}, {"DirectRouting/kernel", directly, "kernel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needDatapath(t, c.datapath)
			w := newNetwork(t, 2)
			w.nodes = append(w.nodes, newNodeBehindRouter(t, w))
			for i, n := range w.nodes {
				n.start("--datapath=" + c.datapath)
				if i == 0 {
					w.configure(c.config)
				}
			}
			var addrs []netip.Addr
			var containers []*lab.Host
			for _, n := range w.nodes {
				n.ready()
				container, addr := n.container()
				containers, addrs = append(containers, container), append(addrs, addr)
			}
			w.checkDirect(c.config == directly)
			w.onWire(containers[0], addrs[1], false)
			if c.config == directly {
				w.onWire(containers[0], addrs[2], true)
			}
		})
	}
}

// checkDirect compares `ip route` of the first node, and of the one behind the
// router, which has no neighbours.
func (w *network) checkDirect(tunnels bool) {
	w.t.Helper()
	near, next, far := w.nodes[0], w.nodes[1], w.nodes[2]
	nears := append(near.ownRoutes(), "10.4.8.0/24 via 10.4.7.1 dev eth0", next.via(next.addr.String(), "eth0"))
	fars := append(far.ownRoutes(), "10.4.7.0/24 via 10.4.8.1 dev eth0")
	if tunnels {
		nears = append(nears, far.overVXLAN())
		fars = append(fars, near.overVXLAN(), next.overVXLAN())
	} else {
		near.says(far.addr.String() + " is not directly reachable through eth0")
		far.says(near.addr.String() + " is not directly reachable through eth0")
	}
	slices.Sort(nears)
	slices.Sort(fars)
	near.compare("ip route", func() ([]string, error) { return near.RouteLines(unix.AF_INET) }, nears)
	far.compare("ip route", func() ([]string, error) { return far.RouteLines(unix.AF_INET) }, fars)
}

// ownRoutes are those that the kernel makes for eth0 and docker0.
func (n *node) ownRoutes() []string {
	n.t.Helper()
	own := n.file().Subnet
	return []string{
		fmt.Sprintf("%v dev eth0 proto kernel scope link src %v", netip.PrefixFrom(n.addr, 24).Masked(), n.addr),
		fmt.Sprintf("%v dev docker0 proto kernel scope link src %v", own.Masked(), own.Masked().Addr().Next()),
	}
}

// via is a route to the node's subnet.
func (n *node) via(gateway, dev string) string {
	n.t.Helper()
	return fmt.Sprintf("%v via %s dev %s", n.file().Subnet.Masked(), gateway, dev)
}

func (n *node) overVXLAN() string {
	n.t.Helper()
	return n.via(n.file().Subnet.Masked().Addr().String(), "flannel.1") + " onlink"
}

// onWire pings from the first node's container, and wants the request to leave the
// node and the reply to enter it as they are, or in VXLAN.
func (w *network) onWire(from *lab.Host, dst netip.Addr, encapsulated bool) {
	w.t.Helper()
	eventually(w.t, func() error { return from.Ping(dst, lab.PingOptions{}).Lost() })
	wire := lab.TestCapture(w.t, w.nodes[0].Host, "eth0")
	check(w.t, from.Ping(dst, lab.PingOptions{Size: walkSize}).Lost())
	for _, request := range []bool{true, false} {
		_, err := wire.Wait(soon, func(f lab.Frame) bool {
			p := dissect.Packet(f)
			if encapsulated {
				e, ok := dissect.DecodeVXLAN(f, 8472)
				if !ok {
					return false
				}
				p = e.Inner
			}
			if request {
				return f.Outgoing && isRequest(p, dst)
			}
			return !f.Outgoing && isReply(p, dst)
		})
		if err != nil {
			w.t.Errorf("%v, encapsulated %v, request %v: %v", dst, encapsulated, request, err)
		}
	}
}

// isRequest reports whether a packet is the echo request of walkSize to dst, its
// IP header the first there is.
func isRequest(p gopacket.Packet, dst netip.Addr) bool {
	ip, ok := echo(p, layers.ICMPv4TypeEchoRequest)
	return ok && ip.DstIP.String() == dst.String()
}

// isReply is isRequest for the answer.
func isReply(p gopacket.Packet, src netip.Addr) bool {
	ip, ok := echo(p, layers.ICMPv4TypeEchoReply)
	return ok && ip.SrcIP.String() == src.String()
}

func echo(p gopacket.Packet, kind uint8) (*layers.IPv4, bool) {
	ip, _ := p.NetworkLayer().(*layers.IPv4)
	icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	return ip, ok && ip != nil && icmp.TypeCode.Type() == kind && len(icmp.Payload) == walkSize
}

// newNodeBehindRouter makes a node on a wire of its own, 10.4.8.0/24, and the
// router to it, which has 10.4.7.1.
func newNodeBehindRouter(t *testing.T, w *network) *node {
	t.Helper()
	router := lab.TestHost(t, "router")
	check(t, router.Sysctl("net.ipv4.ip_forward", "1"))
	check(t, w.wire.Plug(lab.Port{Host: router, Addrs: []netip.Prefix{netip.MustParsePrefix("10.4.7.1/24")}}))
	far, err := lab.NewSwitch(lab.Port{Host: router, Dev: "eth1", Addrs: []netip.Prefix{netip.MustParsePrefix("10.4.8.1/24")}})
	check(t, err)
	t.Cleanup(func() { _ = far.Close() })
	n := newNode(t, w, far, fmt.Sprintf("h%d", len(w.nodes)+1), netip.MustParseAddr("10.4.8.23"))
	for _, near := range w.nodes {
		check(t, near.AddRoute(netip.MustParsePrefix("10.4.8.0/24"), "eth0", netip.MustParseAddr("10.4.7.1")))
	}
	check(t, n.AddRoute(netip.MustParsePrefix("10.4.7.0/24"), "eth0", netip.MustParseAddr("10.4.8.1")))
	return n
}
