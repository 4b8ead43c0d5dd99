package conformance

import (
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// containers are two hosts on a wire, each with a link and a container in a
// bridge: br0 has the container's veth and the link, and all of these have an
// MTU of 1500, which the wire does not carry once a frame is in its envelope.
type containers struct {
	links [2]*link
	pods  [2]*lab.Host
}

func newContainers(t *testing.T, kinds [2]kind, v6 bool) *containers {
	t.Helper()
	lab.NeedBridge(t)
	c := &containers{}
	a, b := lab.TestHost(t, "a"), lab.TestHost(t, "b")
	check(t, lab.Pair(a, b))
	addr := []netip.Addr{lab.PairA4.Addr(), lab.PairB4.Addr()}
	if v6 {
		addr = []netip.Addr{lab.PairA6.Addr(), lab.PairB6.Addr()}
	}
	for i, h := range []*lab.Host{a, b} {
		c.links[i] = newLink(t, h, kinds[i], spec{VXLAN: lab.VXLAN{Name: "vx0", ID: 5, Port: 4789, Local: addr[i], Remote: addr[1-i]}})
		c.pods[i] = lab.TestHost(t, "pod")
		check(t, h.AddBridge("br0"))
		check(t, lab.Connect(lab.Port{Host: h, Dev: "pod0"}, lab.Port{Host: c.pods[i], Addrs: overlay(1 + i)}))
		check(t, h.SetMaster("br0", "pod0", "vx0"))
	}
	return c
}

// Containers with an MTU of 1500 do not stall over links that carry 1450 (over
// IPv6 1430), though neither they nor their bridge have been told.
func TestContainersDoNotStall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		kinds [2]kind
		v6    bool
	}{
		{"user", [2]kind{user, kernel}, false},
		{"user both ends", [2]kind{user, user}, false},
		{"kernel", [2]kind{kernel, kernel}, false},
		{"user over IPv6", [2]kind{user, kernel}, true},
		{"kernel over IPv6", [2]kind{kernel, kernel}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hosts := newContainers(t, c.kinds, c.v6)
			fits := 1450
			if c.v6 {
				fits = 1430
			}
			for i, from := range hosts.pods {
				to := hosts.pods[1-i]
				for v, p := range overlay(2 - i) {
					must(lab.Transfer(from, to, netip.AddrPortFrom(p.Addr(), 0), []int64{64 << 20, 16 << 20}[v]))(t)
					if i > 0 {
						continue // the first has told it by its own MSS
					}
					if got := routeMTU(t, from, p.Addr()); got != fits {
						t.Errorf("the container has an MTU of %d for %v, want %d", got, p, fits)
					}
				}
			}
		})
	}
}
