package interop

import (
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestOuterFragments has links whose MTU is above what the wire carries: over
// IPv4 and with DF clear, the datagrams travel in fragments, both ways.
func TestOuterFragments(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			a, b := connect(t, p, underlay4, func(a, b *spec) {
				a.Dev, a.MTU, b.Dev, b.MTU = "", 3000, "", 3000
			})
			wire := lab.TestCapture(t, b.Host, "eth0")
			carryLarge(t, a, b)
			carryLarge(t, b, a)
			check(t, a.Ping(b.addr, lab.PingOptions{Size: 2900}).Lost())
			seen := map[bool]int{} // fragments, by direction
			for _, f := range wire.Stop() {
				ip, _ := dissect.Packet(f).NetworkLayer().(*layers.IPv4)
				if ip != nil && (ip.FragOffset > 0 || ip.Flags&layers.IPv4MoreFragments != 0) {
					seen[f.Outgoing]++
				}
			}
			// Three large frames each way, in two or three parts, and a ping.
			if seen[false] < 8 || seen[true] < 8 {
				t.Errorf("fragments seen: %d from a, %d from b; want 8 each at least", seen[false], seen[true])
			}
			for _, c := range []struct{ from, to *vtep }{{a, b}, {b, a}} {
				_, err := lab.Transfer(c.from.Host, c.to.Host, netip.AddrPortFrom(c.to.addr, 0), 2<<20)
				check(t, err)
			}
		})
	}
}

// carryLarge sends frames one way that no packet of the wire's MTU holds, and
// waits for them.
func carryLarge(t *testing.T, from, to *vtep) {
	t.Helper()
	inside := lab.TestCapture(t, to.Host, to.link)
	frames := [][]byte{
		ether(1, typeLocal, make([]byte, 1451)), inner{size: 2000}.frame(t, 2), inner{size: 3000 - 40 - 20, v6: true, tcp: true}.frame(t, 3),
	}
	check(t, from.SendFrame(from.link, frames...))
	for _, f := range frames {
		if _, err := inside.Wait(waitLimit, isFrame(f)); err != nil {
			t.Errorf("frame of %d bytes from %s: %v", len(f), from.Name, err)
		}
	}
}
