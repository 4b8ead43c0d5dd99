package conformance

import (
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestVXLANInVXLAN is what double_udp_encap.sh and big_tcp_tunnels.sh set up: a
// link through a link. What the script counts, how the kernel cuts its
// super-frames, is left to it; packets of all sizes and TCP get through.
func TestVXLANInVXLAN(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		ha, hb := lab.TestPair(t)
		outer := [2]netip.Prefix{netip.MustParsePrefix("10.20.1.2/24"), netip.MustParsePrefix("10.20.1.3/24")}
		inner := [2][]netip.Prefix{
			{netip.MustParsePrefix("10.30.1.2/24"), netip.MustParsePrefix("fd30::2/64")},
			{netip.MustParsePrefix("10.30.1.3/24"), netip.MustParsePrefix("fd30::3/64")},
		}
		for i, end := range []struct {
			*lab.Host
			kind   kind
			remote netip.Addr
		}{{ha, k, lab.PairB4.Addr()}, {hb, kernel, lab.PairA4.Addr()}} {
			l := newLink(t, end.Host, end.kind, spec{VXLAN: lab.VXLAN{Name: "outer", ID: 5, Port: 4789, Remote: end.remote, Dev: "eth0"}, Addrs: outer[i : i+1]})
			l.sibling(t, spec{VXLAN: lab.VXLAN{Name: "inner", ID: 6, Port: 4789, Remote: outer[1-i].Addr(), Dev: "outer"}, Addrs: inner[i]})
		}
		for i := range inner[1] {
			to := inner[1][i].Addr()
			for _, size := range []int{0, 1, 500, 1000, 1300} {
				check(t, ha.Ping(to, lab.PingOptions{Size: size}).Lost())
			}
			_, err := lab.Transfer(ha, hb, netip.AddrPortFrom(to, 0), 4<<20)
			check(t, err)
			_, err = lab.Transfer(hb, ha, netip.AddrPortFrom(inner[0][i].Addr(), 0), 4<<20)
			check(t, err)
		}
	})
}
