package nodes

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// dualStack is a network of both families, of a backend.
const dualStack = `{"Network":"172.7.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:172:7::/48","Backend":{"Type":"%s"}}`

// Both families: a lease with both, a second device or routes of their own, and
// containers that reach each other over both.
func TestDualStack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ backend, from, to string }{
		{"vxlan", "user", "user"}, {"vxlan", "user", "kernel"}, {"vxlan", "kernel", "kernel"}, {"host-gw", "auto", "auto"},
	} {
		t.Run(c.backend+"/"+c.from+"-"+c.to, func(t *testing.T) {
			t.Parallel()
			needDatapath(t, c.from)
			needDatapath(t, c.to)
			w := newDual(t, c.backend, c.from, c.to)
			for i, n := range w.nodes {
				n.checkDual(c.backend, w.nodes[1-i])
			}
			w.reachDual()
		})
	}
}

// newDual is two nodes of both families, with a datapath each.
func newDual(t *testing.T, backend string, datapaths ...string) *network {
	t.Helper()
	w := newNetwork(t, 2)
	for i, n := range w.nodes {
		n.both()
		n.start("--datapath=" + datapaths[i])
		if i == 0 {
			w.configure(fmt.Sprintf(dualStack, backend))
		}
	}
	for _, n := range w.nodes {
		n.ready()
	}
	return w
}

// both has the node know IPv6, too.
func (n *node) both() {
	n.t.Helper()
	check(n.t, n.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	check(n.t, n.AddAddr("eth0", netip.PrefixFrom(n.addr6(), 64)))
}

// addr6 ends like the address of IPv4.
func (n *node) addr6() netip.Addr {
	b := netip.MustParseAddr("fd00:10:4:7::").As16()
	b[15] = n.addr.As4()[3]
	return netip.AddrFrom16(b)
}

// checkDual compares subnet.env, the lease, and what of IPv6 leads to the peer.
func (n *node) checkDual(backend string, peer *node) {
	n.t.Helper()
	f, mtu, data := n.file(), 1500, ""
	own, other := f.IPv6Subnet.Masked(), peer.file().IPv6Subnet.Masked()
	route := fmt.Sprintf("%v via %v dev eth0", other, peer.addr6())
	if backend == "vxlan" {
		mtu, data = 1450, n.checkSecond(own, peer, other)
		route = fmt.Sprintf("%v via %v dev flannel-v6.1 onlink", other, other.Addr())
	}
	text, err := os.ReadFile(n.SubnetFile())
	check(n.t, err)
	if want := fmt.Sprintf("FLANNEL_NETWORK=172.7.0.0/16\nFLANNEL_SUBNET=%v/24\nFLANNEL_IPV6_NETWORK=fd00:172:7::/48\nFLANNEL_IPV6_SUBNET=%v/64\nFLANNEL_MTU=%d\nFLANNEL_IPMASQ=false\n",
		f.Subnet.Masked().Addr().Next(), own.Addr().Next(), mtu); string(text) != want {
		n.t.Errorf("%s: subnet.env is %q, want %q", n.Name, text, want)
	}
	key := n.leaseKey() + "&" + strings.ReplaceAll(own.String(), "/", "-")
	want := fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":"%v","BackendType":"%s"%s}`, n.addr, n.addr6(), backend, data)
	if leases := n.net.leases(); leases[key] != want {
		n.t.Errorf("%s: leases %v, want %s with %s", n.Name, leases, key, want)
	}
	n.compare("ip -6 route", func() ([]string, error) { return n.RouteLines(unix.AF_INET6) }, []string{route})
}

// checkSecond compares the device of IPv6 and its entries for the peer. It returns
// what the node's lease has to say of both devices.
func (n *node) checkSecond(own netip.Prefix, peer *node, other netip.Prefix) string {
	n.t.Helper()
	const dev = "flannel-v6.1"
	first, err := n.Device("flannel.1")
	check(n.t, err)
	d, err := n.Device(dev)
	check(n.t, err)
	if base := netip.PrefixFrom(own.Addr(), 128); d.MTU != 1430 || !slices.Contains(d.Addresses, base) {
		n.t.Errorf("%s: %s has mtu %d and %v, want 1430 and %v", n.Name, dev, d.MTU, d.Addresses, base)
	}
	end, err := peer.Device(dev)
	check(n.t, err)
	n.compare("bridge fdb", func() ([]string, error) { return trimmed(n.fdb(dev, d.Kind)), nil },
		[]string{fmt.Sprintf("%v dst %v self permanent", end.MAC, peer.addr6())})
	n.compare("ip -6 neigh", func() ([]string, error) { return n.neighbours(d.Index, unix.AF_INET6) },
		[]string{fmt.Sprintf("%v lladdr %v PERMANENT", other.Addr(), end.MAC)})
	return fmt.Sprintf(`,"BackendData":{"VNI":1,"VtepMAC":"%v"},"BackendV6Data":{"VNI":1,"VtepMAC":"%v"}`, first.MAC, d.MAC)
}

// reachDual has the nodes' containers reach each other over both families.
func (w *network) reachDual() {
	w.t.Helper()
	containers, addrs := w.dualContainers()
	for i, c := range containers {
		for _, to := range addrs[1-i] {
			eventually(w.t, func() error { return c.Ping(to, lab.PingOptions{}).Lost() })
			if err := c.Ping(to, lab.PingOptions{Count: 10}).Lost(); err != nil {
				w.t.Error(err)
			}
			_, err := lab.Transfer(c, containers[1-i], netip.AddrPortFrom(to, 0), 8<<20)
			check(w.t, err)
		}
	}
}

// dualContainers are one behind each node, and their addresses of each family.
func (w *network) dualContainers() (containers [2]*lab.Host, addrs [2][2]netip.Addr) {
	w.t.Helper()
	for i, n := range w.nodes {
		containers[i], addrs[i][0] = n.container()
		addrs[i][1] = n.second(containers[i])
	}
	return containers, addrs
}

// second gives a container its address of IPv6, as docker with --fixed-cidr-v6
// does.
func (n *node) second(c *lab.Host) netip.Addr {
	n.t.Helper()
	s := n.file().IPv6Subnet
	gateway := s.Masked().Addr().Next()
	own := gateway.Next()
	check(n.t, n.AddAddr("docker0", netip.PrefixFrom(gateway, s.Bits())))
	check(n.t, c.AddAddr("eth0", netip.PrefixFrom(own, s.Bits())))
	check(n.t, c.AddRoute(netip.PrefixFrom(netip.IPv6Unspecified(), 0), "eth0", gateway))
	return own
}
