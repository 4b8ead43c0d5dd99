package nodes

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// Addresses of the first interface of each virtual machine, as VirtualBox gives
// them, and of the router of the other one.
var (
	natted     = netip.MustParsePrefix("10.0.2.15/24")
	natGateway = netip.MustParseAddr("10.0.2.2")
	gateway    = netip.MustParseAddr("10.4.7.1")
)

// secondMTU is that of the interface by which nodes reach each other.
const secondMTU = 1400

// Virtual machines as Vagrant makes them: the same address on each one's eth0, by
// which none reaches another, and a second interface by which they do. It is found
// by an address that is reached over it, or because it has the default route.
func TestSecondInterface(t *testing.T) {
	t.Parallel()
	const reach = "--iface-can-reach=10.4.7.1"
	for _, c := range []struct {
		name, flag, config, datapath, device string
		overhead                             int
	}{
		{"can-reach/vxlan/user", reach, overVXLAN, "user", "flannel.1", 50},
		{"can-reach/vxlan/kernel", reach, overVXLAN, "kernel", "flannel.1", 50},
		{"can-reach/host-gw", reach, hostGW, "auto", "eth1", 0},
		{"default/vxlan/user", "", overVXLAN, "user", "flannel.1", 50},
		{"default/udp", "", overUDP, "user", "flannel0", 28},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			needDatapath(t, c.datapath)
			o := newTwoLegged(t, c.flag)
			for i, n := range o.nodes {
				n.start("--datapath=" + c.datapath)
				if i == 0 {
					o.configure(c.config)
				}
			}
			for i, n := range o.nodes {
				n.ready()
				n.checkPublished(c.device, secondMTU-c.overhead)
				o.containers[i], o.addrs[i] = n.container()
			}
			o.reach()
			full := lab.PingOptions{Size: secondMTU - c.overhead - 28, DF: true}
			check(t, o.containers[0].Ping(o.addrs[1], full).Lost())
		})
	}
}

// newTwoLegged makes two such machines. The default route is by their second
// interface if no flag says how that is found.
func newTwoLegged(t *testing.T, flag string) *overlay {
	t.Helper()
	w := &network{t: t, wire: newSwitch(t)}
	for i := range 2 {
		n := newLoneNode(t, w, fmt.Sprintf("h%d", i+1), nodeAddr(i))
		n.Iface = flag
		w.nodes = append(w.nodes, n)
		nat := lab.TestHost(t, "nat-"+n.Name)
		check(t, lab.Connect(
			lab.Port{Host: n.Host, Addrs: []netip.Prefix{natted}},
			lab.Port{Host: nat, Addrs: []netip.Prefix{netip.PrefixFrom(natGateway, 24)}},
		))
		check(t, w.wire.Plug(lab.Port{Host: n.Host, Dev: "eth1", MTU: secondMTU, Addrs: []netip.Prefix{netip.PrefixFrom(n.addr, 24)}}))
		dev, via := "eth0", natGateway
		if flag == "" {
			dev, via = "eth1", gateway
		}
		check(t, n.AddRoute(netip.PrefixFrom(netip.IPv4Unspecified(), 0), dev, via))
	}
	w.storeOnFirst()
	return &overlay{network: w}
}

// checkPublished wants the node's lease to have its address, and the device and the
// subnet file an MTU.
func (n *node) checkPublished(device string, mtu int) {
	n.t.Helper()
	if have, want := n.net.leases()[n.leaseKey()], fmt.Sprintf(`{"PublicIP":"%v",`, n.addr); !strings.HasPrefix(have, want) {
		n.t.Errorf("%s: the lease is %s, want %s…", n.Name, have, want)
	}
	d, err := n.Device(device)
	check(n.t, err)
	if file := n.file().MTU; d.MTU != mtu || file != mtu {
		n.t.Errorf("%s: %s has mtu %d, and containers are to have %d, want %d", n.Name, device, d.MTU, file, mtu)
	}
}
