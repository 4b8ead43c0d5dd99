package interop

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// another makes one more link in a VTEP's host, of the same kind.
func (v *vtep) another(t *testing.T, s spec) *vtep {
	t.Helper()
	more := &vtep{Host: v.Host, kind: v.kind, weft: v.weft, link: s.Name}
	if v.kind == user {
		v.addLink(t, s)
	} else {
		check(t, v.AddKernelVXLAN(s.VXLAN))
		for _, p := range s.Addrs {
			check(t, v.AddAddr(s.Name, p))
		}
		check(t, v.SetUp(s.Name))
	}
	if len(s.Addrs) > 0 {
		more.addr = s.Addrs[0].Addr()
	}
	return more
}

// boundTo counts a host's UDP sockets on a port, of IPv4 or IPv6; those of the
// kernel's devices are among them.
func boundTo(t *testing.T, h *lab.Host, file string, port uint16) (n int) {
	t.Helper()
	check(t, h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				n++
			}
		}
		return err
	}))
	return n
}

// sockets counts all of a host's UDP sockets of a family.
func sockets(t *testing.T, h *lab.Host, file string) (n int) {
	t.Helper()
	check(t, h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		n = strings.Count(string(text), "\n") - 1 // the heading
		return err
	}))
	return n
}

// TestBothUnderlays has a link over IPv4 and one over IPv6 in the same hosts,
// with the same VNI on the same port.
func TestBothUnderlays(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			a, b := connect(t, p, underlay4, nil)
			over6 := spec{VXLAN: lab.VXLAN{Name: "vxlan6", ID: 5, Port: 4789, Local: underlay6.a, Remote: underlay6.b, Dev: "eth0"}}
			over6.Addrs = []netip.Prefix{netip.MustParsePrefix("10.20.6.2/24")}
			a6 := a.another(t, over6)
			over6.Local, over6.Remote = over6.Remote, over6.Local
			over6.Addrs = []netip.Prefix{netip.MustParsePrefix("10.20.6.3/24")}
			b6 := b.another(t, over6)
			capture := lab.TestCapture(t, b.Host, "eth0")
			check(t, a.Ping(b.addr, lab.PingOptions{Count: 3, Size: 100}).Lost())
			check(t, a.Ping(b6.addr, lab.PingOptions{Count: 3, Size: 200}).Lost())
			check(t, b.Ping(a6.addr, lab.PingOptions{Count: 3, Size: 200}).Lost())
			for _, e := range dissect.VXLANs(capture.Stop(), 4789) {
				switch n := len(e.Inner.Data()); {
				case n == 14+20+8+100 && e.IPv4 == nil, n == 14+20+8+200 && e.IPv6 == nil:
					t.Errorf("%d bytes went over the other underlay: %v", n, e.Outer)
				}
			}
			for _, h := range []*lab.Host{a.Host, b.Host} {
				if n4, n6 := boundTo(t, h, "udp", 4789), boundTo(t, h, "udp6", 4789); n4 != 1 || n6 != 1 {
					t.Errorf("host %s has %d and %d sockets on the port, want one of each family", h.Name, n4, n6)
				}
			}
		})
	}
}

// tenant is one of several links between the same two VTEPs.
type tenant struct {
	vni    uint32
	a, b   *lab.Host // where the link's ends are
	link   string
	inside *lab.Capture // of b's end
}

// tenantsOf joins the ends of three VNIs pairwise, each end in a namespace of
// its own, where all have the same addresses.
func tenantsOf(t *testing.T, p pairing) (all []*tenant, a, b *vtep) {
	t.Helper()
	ha, hb := lab.TestPair(t)
	for vni := uint32(5); vni < 8; vni++ {
		name := fmt.Sprintf("vxlan%d", vni)
		all = append(all, &tenant{vni: vni, a: lab.TestHost(t, "a"+name), b: lab.TestHost(t, "b"+name), link: name})
	}
	a, b = tenantEnds(t, ha, p.a, underlay4.b, all), tenantEnds(t, hb, p.b, underlay4.a, all)
	for _, n := range all {
		moveTo(t, ha, n.a, n.link, innerA[0])
		moveTo(t, hb, n.b, n.link, innerB[0])
		n.inside = lab.TestCapture(t, n.b, n.link)
	}
	return all, a, b
}

// tenantEnds makes the links of one end.
func tenantEnds(t *testing.T, h *lab.Host, k kind, remote netip.Addr, all []*tenant) (v *vtep) {
	t.Helper()
	for _, n := range all {
		s := spec{VXLAN: lab.VXLAN{Name: n.link, ID: n.vni, Port: 4789, Remote: remote, Dev: "eth0"}}
		if v == nil {
			v = addVTEP(t, h, k, s)
		} else {
			v.another(t, s)
		}
	}
	return v
}

// moveTo moves a link to where it is used, and deletes it in the end.
func moveTo(t *testing.T, from, to *lab.Host, link string, addr netip.Prefix) {
	t.Helper()
	check(t, from.Move(link, to))
	t.Cleanup(func() { _ = to.Delete(link) })
	check(t, to.AddAddr(link, addr))
	check(t, to.SetUp(link))
}

// TestTenants reuses one subnet on three VNIs that share a port: each end
// finds its own twin, and no frame comes out of another VNI's link.
func TestTenants(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			all, a, b := tenantsOf(t, p)
			done := make(chan error)
			for i, n := range all { // at once
				go func() { done <- n.a.Ping(innerB[0].Addr(), lab.PingOptions{Count: 20, Size: 100 * (i + 1)}).Lost() }()
			}
			for range all {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			for i, n := range all {
				n.checkTwin(t)
				n.checkAlone(t, 14+20+8+100*(i+1))
			}
			for _, v := range []*vtep{a, b} {
				if n := boundTo(t, v.Host, "udp", 4789); n != 1 {
					t.Errorf("host %s has %d sockets on the port for three links, want one", v.Name, n)
				}
				want := 1 + 64
				if lab.LackOfShortcuts() == nil {
					want++ // by which programs know the namespace
				}
				if n := sockets(t, v.Host, "udp"); v.kind == user && n != want {
					t.Errorf("host %s has %d sockets for three links, want one to receive, 64 to send and perhaps one of the programs: %d", v.Name, n, want)
				}
			}
		})
	}
}

// checkTwin wants a's neighbour to be b's end of the same VNI.
func (n *tenant) checkTwin(t *testing.T) {
	t.Helper()
	twin, err := n.b.Device(n.link)
	check(t, err)
	neighbours, err := n.a.Netlink().NeighList(0, netlink.FAMILY_V4)
	check(t, err)
	for _, have := range neighbours {
		if addrOf(have.IP) == innerB[0].Addr() && have.HardwareAddr.String() != twin.MAC.String() {
			t.Errorf("VNI %d: neighbour at %v, want the twin's %v", n.vni, have.HardwareAddr, twin.MAC)
		}
	}
	if len(neighbours) == 0 {
		t.Errorf("VNI %d: no neighbour", n.vni)
	}
}

// checkAlone wants all echoes on b's link to have the size of its own tenant's.
func (n *tenant) checkAlone(t *testing.T, size int) {
	t.Helper()
	own := 0
	for _, f := range n.inside.Stop() {
		switch {
		case len(f.Data) == size:
			own++
		case len(f.Data) > 14+20+8+50:
			t.Errorf("VNI %d: a frame of %d bytes is another's", n.vni, len(f.Data))
		}
	}
	if own != 40 {
		t.Errorf("VNI %d: %d requests and replies, want 40", n.vni, own)
	}
}
