package conformance

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// The cases of pmtu.sh about vxlan devices: a link whose underlay has two hops,
// of which only the first carries what the link says.

// The MTUs of the script: of the far hop, and of all that is before it.
const (
	farMTU  = 4000
	nearMTU = farMTU + 1000
)

// twoHops is a host with the link under test, a router, and a host with the
// kernel's device. The link may be in a bridge with one more host.
//
//	pod ─ bridge ─ link ─── 5000 ─── router ─── 4000 ─── kernel's
type twoHops struct {
	near, far *link
	pod       *lab.Host // nil without a bridge
	overhead  int
}

// overlay has the inner addresses of a host of these topologies, IPv4 and IPv6.
func overlay(n int) []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("192.168.77.%d/24", n)), netip.MustParsePrefix(fmt.Sprintf("fd00:77::%d/64", n)),
	}
}

func newTwoHops(t *testing.T, k kind, v6, bridged bool) *twoHops {
	t.Helper()
	u := prefixes("", "10.9.1.1/24", "10.9.1.2/24", "10.9.2.2/24", "10.9.2.2/24", "10.9.2.1/24", "10.9.2.1/24")
	c := &twoHops{overhead: 50}
	if v6 {
		u = prefixes("", "fd09:1::1/64", "fd09:1::2/64", "fd09:2::2/64", "fd09:2::2/64", "fd09:2::1/64", "fd09:2::1/64")
		c.overhead = 70
	}
	a, r, b := lab.TestHost(t, "near"), lab.TestHost(t, "router"), lab.TestHost(t, "far")
	hop := func(h *lab.Host, dev string, p netip.Prefix, mtu int) lab.Port {
		return lab.Port{Host: h, Dev: dev, Addrs: []netip.Prefix{p}, MTU: mtu}
	}
	check(t, lab.Connect(hop(a, "eth0", u.sw, nearMTU), hop(r, "port0", u.router[0], nearMTU)))
	check(t, lab.Connect(hop(b, "eth0", u.far[0], farMTU), hop(r, "port1", u.router[1], farMTU)))
	check(t, r.Sysctl("net.ipv4.ip_forward", "1"))
	check(t, r.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	check(t, a.AddRoute(u.far[0], "eth0", u.router[0].Addr()))
	check(t, b.AddRoute(u.sw, "eth0", u.router[1].Addr()))
	one := func(local, remote netip.Prefix, addrs []netip.Prefix) spec {
		s := spec{VXLAN: lab.VXLAN{Name: "vx0", ID: 1, Port: 4789, Local: local.Addr(), Remote: remote.Addr(), TTL: 64, MTU: nearMTU}, Addrs: addrs}
		if !v6 {
			s.DF = lab.DFSet
		}
		return s
	}
	if bridged {
		c.near = newLink(t, a, k, one(u.sw, u.far[0], nil))
		c.addBridge(t)
	} else {
		c.near = newLink(t, a, k, one(u.sw, u.far[0], overlay(1)))
	}
	c.far = newLink(t, b, kernel, one(u.far[0], u.sw, overlay(2)))
	return c
}

// addBridge puts the near link and the pod into a bridge that has an address.
func (c *twoHops) addBridge(t *testing.T) {
	t.Helper()
	lab.NeedBridge(t)
	a := c.near
	c.pod = lab.TestHost(t, "pod")
	check(t, a.AddBridge("br0"))
	check(t, lab.Connect(lab.Port{Host: a.Host, Dev: "pod0", MTU: nearMTU}, lab.Port{Host: c.pod, Addrs: overlay(3), MTU: nearMTU}))
	check(t, a.SetMaster("br0", a.dev, "pod0"))
	check(t, a.SetMTU("br0", nearMTU))
	for _, p := range overlay(1) {
		check(t, a.AddAddr("br0", p))
	}
}

// routeMTU is what a host knows of the MTU of a path, 0 if nothing.
func routeMTU(t *testing.T, h *lab.Host, dst netip.Addr) int {
	t.Helper()
	routes := must(h.Netlink().RouteGet(dst.AsSlice()))(t)
	if len(routes) != 1 {
		t.Fatalf("%d routes from %s to %v", len(routes), h.Name, dst)
	}
	return routes[0].MTU
}

// wantException pings with too large packets until the host has heard what
// fits.
func (c *twoHops) wantException(t *testing.T, from *lab.Host, dst netip.Addr) {
	t.Helper()
	want := farMTU - c.overhead
	if mtu := routeMTU(t, from, dst); mtu != 0 {
		t.Errorf("%s has an MTU of %d for %v from the start", from.Name, mtu, dst)
	}
	check(t, lab.Eventually(waitLimit, func() error {
		from.Ping(dst, lab.PingOptions{Size: farMTU + 500, DF: true, Timeout: 50 * time.Millisecond})
		if got := routeMTU(t, from, dst); got != want {
			return fmt.Errorf("%s has an MTU of %d for %v, want %d", from.Name, got, dst, want)
		}
		return nil
	}))
}

// eachHop runs one body for both kinds and both families of underlay.
func eachHop(t *testing.T, bridged bool, body func(t *testing.T, c *twoHops, dst netip.Addr)) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		c := newTwoHops(t, k, v6, bridged)
		for _, p := range overlay(2) {
			body(t, c, p.Addr())
		}
	})
}

// pmtu_ipv4_vxlan4_exception, pmtu_ipv6_vxlan4_exception,
// pmtu_ipv4_vxlan6_exception, pmtu_ipv6_vxlan6_exception.
func TestPMTUException(t *testing.T) {
	eachHop(t, false, func(t *testing.T, c *twoHops, dst netip.Addr) {
		c.wantException(t, c.near.Host, dst)
		check(t, c.near.Ping(dst, lab.PingOptions{Size: farMTU - c.overhead - headers(dst), DF: true}).Lost())
	})
}

// headers are the bytes of an echo request before its payload.
func headers(dst netip.Addr) int {
	if dst.Is6() {
		return 40 + 8
	}
	return 20 + 8
}

// pmtu_ipv4_br_vxlan4_exception, pmtu_ipv6_br_vxlan4_exception,
// pmtu_ipv4_br_vxlan6_exception, pmtu_ipv6_br_vxlan6_exception: behind a
// bridge, and on the bridge's own host, which then send 1 MiB each.
func TestPMTUBridgedException(t *testing.T) {
	eachHop(t, true, func(t *testing.T, c *twoHops, dst netip.Addr) {
		for _, from := range []*lab.Host{c.pod, c.near.Host} {
			c.wantException(t, from, dst)
			must(lab.Transfer(from, c.far.Host, netip.AddrPortFrom(dst, 0), 1<<20))(t)
			if got, want := routeMTU(t, from, dst), farMTU-c.overhead; got != want {
				t.Errorf("after a transfer %s has an MTU of %d for %v, want %d", from.Name, got, dst, want)
			}
		}
	})
}
