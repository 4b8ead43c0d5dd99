package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// alone is one link in a host, and another host on its wire that stands for
// all others: it watches what is sent, and sends what nobody would.
type alone struct {
	*link
	peer  *lab.Host
	wire  *lab.Capture // of the peer's eth0
	local netip.Addr
}

// aloneVNI and alonePort are those of such a link.
const (
	aloneVNI  = 5
	alonePort = 4789
)

// newAlone makes the link vx0, changed by adjust, with a local address of the
// family.
func newAlone(t *testing.T, k kind, v6 bool, adjust func(*spec)) *alone {
	t.Helper()
	h, peer := lab.TestHost(t, "vtep"), lab.TestHost(t, "peer")
	check(t, lab.Pair(h, peer))
	for _, other := range []*lab.Host{h, peer} { // nobody speaks unasked
		check(t, other.SetOffloads("eth0", lab.OffloadsOff()))
		check(t, other.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
	}
	s := spec{VXLAN: lab.VXLAN{Name: "vx0", ID: aloneVNI, Port: alonePort, Local: pairAddr(v6)}}
	if adjust != nil {
		adjust(&s)
	}
	return &alone{link: newLink(t, h, k, s), peer: peer, wire: lab.TestCapture(t, peer, "eth0"), local: pairAddr(v6)}
}

// pairAddr is the host's address on the wire.
func pairAddr(v6 bool) netip.Addr {
	if v6 {
		return lab.PairA6.Addr()
	}
	return lab.PairA4.Addr()
}

// other is the n-th of the addresses on the wire that others have: the peer
// has the first, and answers for all that a neighbour entry is made for.
func (a *alone) other(t *testing.T, n int) string {
	t.Helper()
	addr := lab.PairB4.Addr()
	if a.v6 {
		addr = lab.PairB6.Addr()
	}
	for range n {
		addr = addr.Next()
	}
	if n > 0 {
		check(t, a.AddNeighbour("eth0", addr, macOf(t, a.peer, "eth0")))
	}
	return addr.String()
}

// deliver has the link receive a frame from an outer address.
func (a *alone) deliver(t *testing.T, from string, frame []byte) {
	t.Helper()
	src := netip.AddrPortFrom(netip.MustParseAddr(from), 23456)
	check(t, a.peer.SendUDP(src, netip.AddrPortFrom(a.local, alonePort), vxlan(aloneVNI, frame), lab.DatagramOptions{}))
}

// deliverFrom does so with a broadcast from a MAC address.
func (a *alone) deliverFrom(t *testing.T, from, source string) {
	t.Helper()
	a.deliver(t, from, ether(broadcast, mac(source), typeLocal, make([]byte, 46)))
}

// sent sends a frame out of the link's device and returns the datagrams that
// the peer's wire saw of it, once n of them have come.
func (a *alone) sent(t *testing.T, n int, frame []byte) (seen []*dissect.Encapsulated) {
	t.Helper()
	before := len(a.wire.Frames())
	check(t, a.SendFrame(a.dev, frame))
	check(t, lab.Eventually(waitLimit, func() error {
		seen = seen[:0]
		for _, e := range dissect.VXLANs(a.wire.Frames()[before:], alonePort) {
			if slices.Equal(e.Inner.Data(), frame) {
				seen = append(seen, e)
			}
		}
		if len(seen) != n {
			return fmt.Errorf("a frame left %s %d times, want %d", a.dev, len(seen), n)
		}
		return nil
	}))
	return seen
}

// destinations are where copies of a frame of the link went, sorted.
func (a *alone) destinations(t *testing.T, n int, frame []byte) (to []string) {
	t.Helper()
	for _, e := range a.sent(t, n, frame) {
		to = append(to, outerDestination(e).String())
	}
	slices.Sort(to)
	return to
}

func outerDestination(e *dissect.Encapsulated) netip.Addr {
	dst, _ := netip.AddrFromSlice(e.Outer.NetworkLayer().NetworkFlow().Dst().Raw())
	return dst
}

// wantRefused wants an outcome that means what a text of the kernel's says.
// The texts are errno's, or those that come with it.
func wantRefused(t *testing.T, what string, err error, text string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s was carried out, want %q", what, text)
	case !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(text)):
		t.Errorf("%s: %v, want %q", what, err, text)
	}
}

// eachFamily runs one body for both kinds and both families of underlay.
func eachFamily(t *testing.T, body func(t *testing.T, k kind, v6 bool)) {
	t.Helper()
	t.Parallel()
	for _, u := range []underlay{underlay4, underlay6} {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, k kind) { body(t, k, u.sw.Addr().Is6()) })
		})
	}
}
