package nodes

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// Nodes on one wire reach each other's containers without a tunnel, by host-gw and
// by vxlan with DirectRouting; one behind a router is reached through it.
func TestDirect(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"host-gw":       `{"Network":"172.7.0.0/16","Backend":{"Type":"host-gw"}}`,
		"DirectRouting": `{"Network":"172.7.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newNetwork(t, 2)
			tunnels := name == "DirectRouting"
			if tunnels {
				w.nodes = append(w.nodes, newNodeBehindRouter(t, w))
			}
			for i, n := range w.nodes {
				n.start("--datapath=user")
				if i == 0 {
					w.configure(config)
				}
			}
			var addrs []netip.Addr
			var containers []*lab.Host
			for _, n := range w.nodes {
				n.ready()
				c, addr := n.container()
				containers, addrs = append(containers, c), append(addrs, addr)
			}
			for i, addr := range addrs[1:] {
				w.onWire(containers[0], addr, tunnels && i == 1)
			}
		})
	}
}

// onWire pings from the first node's container, and wants the request to leave the
// node as it is, or in VXLAN.
func (w *network) onWire(from *lab.Host, dst netip.Addr, encapsulated bool) {
	w.t.Helper()
	eventually(w.t, func() error { return from.Ping(dst, lab.PingOptions{}).Lost() })
	wire := lab.TestCapture(w.t, w.nodes[0].Host, "eth0")
	check(w.t, from.Ping(dst, lab.PingOptions{Size: walkSize}).Lost())
	_, err := wire.Wait(soon, func(f lab.Frame) bool {
		p := dissect.Packet(f)
		if encapsulated {
			e, ok := dissect.DecodeVXLAN(f, 8472)
			if !ok {
				return false
			}
			p = e.Inner
		}
		return f.Outgoing && isRequest(p, dst)
	})
	if err != nil {
		w.t.Errorf("to %v, encapsulated %v: %v", dst, encapsulated, err)
	}
}

// isRequest reports whether a packet is the echo request of walkSize to dst, its
// IP header the first there is.
func isRequest(p gopacket.Packet, dst netip.Addr) bool {
	ip, _ := p.NetworkLayer().(*layers.IPv4)
	icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	return ok && ip != nil && ip.DstIP.String() == dst.String() && icmp.TypeCode.Type() == layers.ICMPv4TypeEchoRequest && len(icmp.Payload) == walkSize
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
