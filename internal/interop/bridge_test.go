package interop

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestPodsOnABridge puts the link into a bridge with containers' wires: two of
// one host meet on its bridge, and only what is for the other host goes out.
func TestPodsOnABridge(t *testing.T) {
	t.Parallel()
	lab.NeedBridge(t)
	for _, p := range pairings[:3] {
		t.Run(p.String(), func(t *testing.T) {
			a, b := connect(t, p, underlay4, func(a, b *spec) { a.Addrs, b.Addrs = nil, nil })
			first := newPod(t, a, "pod1", "192.168.1.10/24")
			newPod(t, a, "pod2", "192.168.1.11/24")
			newPod(t, b, "pod1", "192.168.1.12/24")
			near, far := netip.MustParseAddr("192.168.1.11"), netip.MustParseAddr("192.168.1.12")
			capture := lab.TestCapture(t, b.Host, "eth0")
			check(t, first.Ping(near, lab.PingOptions{Count: 3}).Lost())
			check(t, first.Ping(far, lab.PingOptions{Count: 3}).Lost())
			check(t, first.Ping(far, lab.PingOptions{Size: 1422, DF: true}).Lost())
			requests := map[string]int{}
			for _, e := range dissect.VXLANs(capture.Stop(), 4789) {
				icmp, ok := e.Inner.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
				if ok && icmp.TypeCode.Type() == layers.ICMPv4TypeEchoRequest {
					requests[e.Inner.NetworkLayer().NetworkFlow().Dst().String()]++
				}
			}
			if len(requests) != 1 || requests[far.String()] != 4 {
				t.Errorf("echo requests on the wire, by where they went: %v, want 4 to %v", requests, far)
			}
		})
	}
}

// newPod makes a host on the bridge of a VTEP, and the bridge if need be.
func newPod(t *testing.T, v *vtep, dev, addr string) *lab.Host {
	t.Helper()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0", MTU: 1450, TxQLen: -1}}
	if _, err := v.Device("br0"); err != nil {
		check(t, v.Netlink().LinkAdd(bridge))
		check(t, v.SetUp("br0"))
		join(t, v, "vxlan0")
	}
	pod := lab.TestHost(t, v.Name+" "+dev)
	check(t, lab.Connect(lab.Port{Host: v.Host, Dev: dev, MTU: 1450}, lab.Port{Host: pod, MTU: 1450, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}))
	join(t, v, dev)
	return pod
}

// join makes a device a port of the bridge.
func join(t *testing.T, v *vtep, dev string) {
	t.Helper()
	bridge, err := v.Netlink().LinkByName("br0")
	check(t, err)
	onDevice(t, v.Host, dev, func(l netlink.Link) error { return v.Netlink().LinkSetMaster(l, bridge) })
}
