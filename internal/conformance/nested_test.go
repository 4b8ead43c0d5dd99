package conformance

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What double_udp_encap.sh and big_tcp_tunnels.sh set up: a link through a link.
// What the scripts count, how the kernel cuts its super-frames, is left to it;
// packets of all sizes and TCP get through, in two envelopes.

// nestedPort is that of the inner links, as in the script.
const nestedPort = 6082

// newNested makes an outer and an inner link in a host.
func newNested(t *testing.T, h *lab.Host, k kind, v6 bool, n int) (inner *link) {
	t.Helper()
	wire, other := []netip.Prefix{lab.PairA4, lab.PairA6}, []netip.Prefix{lab.PairB4, lab.PairB6}
	if n == 2 {
		wire, other = other, wire
	}
	family, between := 0, func(n int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("172.16.1.%d/24", n)) }
	if v6 {
		family, between = 1, func(n int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("fd00:16::%d/64", n)) }
	}
	outer := newLink(t, h, k, spec{
		VXLAN: lab.VXLAN{Name: "vx0", ID: 4, Port: 4789, Local: wire[family].Addr(), Remote: other[family].Addr(), Dev: "eth0"},
		Addrs: []netip.Prefix{between(n)},
	})
	return outer.sibling(t, spec{
		VXLAN: lab.VXLAN{Name: "vx1", ID: 40, Port: nestedPort, Local: between(n).Addr(), Remote: between(3 - n).Addr(), Dev: "vx0"},
		Addrs: overlay(n),
	})
}

// "No GSO - vxlan", "GSO without GRO - vxlan": whole super-frames, and packets
// that were cut before.
func TestVXLANInVXLAN(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		for name, offloads := range map[string]lab.Offloads{"GSO": lab.OffloadsOn(), "no GSO": lab.OffloadsOff()} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a, b := lab.TestPair(t)
				check(t, a.SetOffloads("eth0", offloads))
				check(t, b.SetOffloads("eth0", offloads))
				inner := newNested(t, a, k, v6, 1)
				newNested(t, b, kernel, v6, 2)
				want := 1400
				if v6 {
					want = 1360
				}
				if got := must(a.Device("vx1"))(t).MTU; got != want {
					t.Errorf("the inner link has an MTU of %d, want %d", got, want)
				}
				wire := lab.TestCapture(t, b, "eth0")
				for _, size := range []int{0, 1, 500, 1000, want - 48} {
					check(t, a.Ping(overlay(2)[0].Addr(), lab.PingOptions{Size: size, DF: true}).Lost())
					check(t, a.Ping(overlay(2)[1].Addr(), lab.PingOptions{Size: size}).Lost())
				}
				if n := nestedIn(wire.Stop()); n < 20 {
					t.Errorf("%d packets with two envelopes on the wire, want 20 of 10 pings at least", n)
				}
				for i := range overlay(1) {
					must(lab.Transfer(inner.Host, b, netip.AddrPortFrom(overlay(2)[i].Addr(), 0), 8<<20))(t)
					must(lab.Transfer(b, inner.Host, netip.AddrPortFrom(overlay(1)[i].Addr(), 0), 8<<20))(t)
				}
			})
		}
	})
}

// nestedIn counts datagrams that hold another.
func nestedIn(frames []lab.Frame) (n int) {
	for _, e := range dissect.VXLANs(frames, 4789) {
		inside := lab.Frame{Data: e.Inner.Data()}
		if within, ok := dissect.DecodeVXLAN(inside, nestedPort); ok && within.VXLAN.VNI == 40 && e.VXLAN.VNI == 4 {
			n++
		}
	}
	return n
}
