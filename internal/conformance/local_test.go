package conformance

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestVXLANToItsOwnHost is test_vxlan_nolocalbypass.sh without the word that
// it is named after: what an entry sends to an address of the same host
// arrives at the link there that has the port and the VNI. The kernel's device
// hands it over by itself, weft sends it through the host's sockets.
func TestVXLANToItsOwnHost(t *testing.T) {
	t.Parallel()
	for _, local := range []netip.Addr{lab.PairA4.Addr(), lab.PairA6.Addr()} {
		name := "IPv4"
		if local.Is6() {
			name = "IPv6"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, k kind) { checkOwnHost(t, k, local) })
		})
	}
}

func checkOwnHost(t *testing.T, k kind, local netip.Addr) {
	h, _ := lab.TestPair(t)
	from := newLink(t, h, k, spec{VXLAN: lab.VXLAN{Name: "from", ID: 10, Port: 4789, Local: local}})
	places := map[string]*tally{}
	for i, v := range []lab.VXLAN{{Name: "byport", ID: 10, Port: 4790}, {Name: "byvni", ID: 20, Port: 4789}, {Name: "byboth", ID: 20, Port: 4790}} {
		v.Local = local
		from.sibling(t, spec{VXLAN: v})
		places[v.Name] = newTally(t, h, v.Name)
		m := mac("02:00:00:00:0a:00")
		m[5] = byte(i)
		from.fdb(t, "add", m.String(), "dst", local.String(), "port", fmt.Sprint(v.Port), "vni", fmt.Sprint(v.ID))
	}
	for i, name := range []string{"byport", "byvni", "byboth"} {
		e := echo{srcMAC: mac("02:00:00:00:0b:00"), dstMAC: mac("02:00:00:00:0a:00"), src: netip.MustParseAddr("10.0.0.1"), dst: netip.MustParseAddr("10.0.0.2"), id: uint16(i)}
		e.dstMAC[5] = byte(i)
		check(t, h.SendFrame(from.dev, e.frame(t)))
		for other, arrived := range places {
			if other == name {
				arrived.await(t, 1, isEcho(e.id))
			} else {
				arrived.await(t, 0, isEcho(e.id))
			}
		}
	}
	// To where no link is: gone.
	from.fdb(t, "add", "02:00:00:00:0a:ff", "dst", local.String(), "vni", "99")
	e := echo{srcMAC: mac("02:00:00:00:0b:00"), dstMAC: mac("02:00:00:00:0a:ff"), src: netip.MustParseAddr("10.0.0.1"), dst: netip.MustParseAddr("10.0.0.2"), id: 99}
	check(t, h.SendFrame(from.dev, e.frame(t)))
	for _, arrived := range places {
		arrived.await(t, 0, isEcho(99))
	}
}
