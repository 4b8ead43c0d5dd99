package nodes

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// Both families: a lease with both, a second device or routes of their own, and
// containers that reach each other over both.
func TestDualStack(t *testing.T) {
	t.Parallel()
	const words = `{"Network":"172.7.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:172:7::/48","Backend":{"Type":"%s"}}`
	for _, c := range []struct{ backend, from, to string }{
		{"vxlan", "user", "user"}, {"vxlan", "user", "kernel"}, {"host-gw", "auto", "auto"},
	} {
		t.Run(c.backend+"/"+c.from+"-"+c.to, func(t *testing.T) {
			t.Parallel()
			needDatapath(t, c.to)
			w := newNetwork(t, 2)
			for i, n := range w.nodes {
				check(t, n.Sysctl("net.ipv6.conf.all.forwarding", "1"))
				check(t, n.AddAddr("eth0", netip.PrefixFrom(n.addr6(), 64)))
				n.start("--datapath=" + []string{c.from, c.to}[i])
				if i == 0 {
					w.configure(fmt.Sprintf(words, c.backend))
				}
			}
			for _, n := range w.nodes {
				n.ready()
			}
			for i, n := range w.nodes {
				n.checkDual(c.backend, w.nodes[1-i])
			}
			w.reachDual()
		})
	}
}

// addr6 ends like the address of IPv4.
func (n *node) addr6() netip.Addr {
	b := netip.MustParseAddr("fd00:10:4:7::").As16()
	b[15] = n.addr.As4()[3]
	return netip.AddrFrom16(b)
}

// checkDual looks at the lease and at the route of IPv6 to the peer.
func (n *node) checkDual(backend string, peer *node) {
	n.t.Helper()
	f := n.file()
	key := n.leaseKey() + "&" + strings.ReplaceAll(f.IPv6Subnet.Masked().String(), "/", "-")
	want := fmt.Sprintf(`{"PublicIP":"%v","PublicIPv6":"%v","BackendType":"%s"`, n.addr, n.addr6(), backend)
	if leases := n.net.leases(); !strings.HasPrefix(leases[key], want) {
		n.t.Errorf("%s: leases %v, want %s with %s", n.Name, leases, key, want)
	}
	dev, via := "eth0", peer.addr6()
	if backend == "vxlan" {
		dev, via = "flannel-v6.1", peer.file().IPv6Subnet.Masked().Addr()
	}
	eventually(n.t, func() error {
		l, err := n.Netlink().LinkByName(dev)
		if err != nil {
			return err
		}
		routes, err := n.Netlink().RouteList(l, netlink.FAMILY_V6)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.Dst != nil && r.Dst.String() == peer.file().IPv6Subnet.Masked().String() && r.Gw.String() == via.String() {
				return nil
			}
		}
		return fmt.Errorf("%s: no route to %v via %v dev %s among %v", n.Name, peer.file().IPv6Subnet, via, dev, routes)
	})
}

// reachDual has the nodes' containers reach each other over both families.
func (w *network) reachDual() {
	w.t.Helper()
	var containers [2]*lab.Host
	var addrs [2][2]netip.Addr
	for i, n := range w.nodes {
		containers[i], addrs[i][0] = n.container()
		addrs[i][1] = n.second(containers[i])
	}
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
