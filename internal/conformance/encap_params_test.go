package conformance

import (
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestVXLANEncapParams is encap_params of test_vxlan_mdb.sh, for entries of the
// FDB: what an entry says of destination, port, VNI and device goes for frames
// to its address, and the link's own for all others.
func TestVXLANEncapParams(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		wires     [4]string // eth0 and eth1 of the link's host, and of the other
		elsewhere string
	}{
		{"IPv4", [4]string{"10.1.0.1/24", "10.2.0.1/24", "10.1.0.2/24", "10.2.0.2/24"}, "10.9.0.1"},
		{"IPv6", [4]string{"fd01::1/64", "fd02::1/64", "fd01::2/64", "fd02::2/64"}, "fd09::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, k kind) {
				var p [4]netip.Prefix
				for i, s := range c.wires {
					p[i] = netip.MustParsePrefix(s)
				}
				newEncapParams(t, k, p, netip.MustParseAddr(c.elsewhere)).run(t)
			})
		})
	}
}

// encapParams are a link and two wires to a host that looks at its datagrams.
type encapParams struct {
	link      *link
	wires     [2]*tally
	remote    netip.Addr // of the first wire
	elsewhere netip.Addr // behind both; the route is by the second
}

func newEncapParams(t *testing.T, k kind, p [4]netip.Prefix, elsewhere netip.Addr) *encapParams {
	t.Helper()
	h, peer := lab.TestHost(t, "host"), lab.TestHost(t, "peer")
	e := &encapParams{remote: p[2].Addr(), elsewhere: elsewhere}
	for i, dev := range []string{"eth0", "eth1"} {
		check(t, lab.Connect(
			lab.Port{Host: h, Dev: dev, Addrs: p[i : i+1]},
			lab.Port{Host: peer, Dev: dev, Addrs: p[i+2 : i+3]},
		))
		check(t, h.AddNeighbour(dev, elsewhere, macOf(t, peer, dev)))
		e.wires[i] = newTally(t, peer, dev)
	}
	all := netip.PrefixFrom(elsewhere, elsewhere.BitLen())
	check(t, h.AddRoute(all, "eth1", netip.Addr{}))
	check(t, h.AddRoute(netip.PrefixFrom(elsewhere, elsewhere.BitLen()-8), "eth0", netip.Addr{}))
	e.link = newLink(t, h, k, spec{VXLAN: lab.VXLAN{Name: "vx0", ID: 10, Port: 4789, Remote: e.remote}})
	return e
}

// sentAs is what a datagram is about.
type sentAs struct {
	wire int
	dst  netip.Addr
	port uint16
	vni  uint32
}

func (e *encapParams) run(t *testing.T) {
	for i, c := range []struct {
		words []string // behind the MAC address; none = no entry
		want  sentAs
	}{
		{nil, sentAs{0, e.remote, 4789, 10}},
		{[]string{"dst", e.elsewhere.String()}, sentAs{1, e.elsewhere, 4789, 10}},
		{[]string{"dst", e.elsewhere.String(), "port", "1234"}, sentAs{1, e.elsewhere, 1234, 10}},
		{[]string{"dst", e.elsewhere.String(), "vni", "777"}, sentAs{1, e.elsewhere, 4789, 777}},
		{[]string{"dst", e.elsewhere.String(), "via", "eth0"}, sentAs{0, e.elsewhere, 4789, 10}},
		{[]string{"dst", e.elsewhere.String(), "port", "1234", "vni", "777", "via", "eth0"}, sentAs{0, e.elsewhere, 1234, 777}},
		{[]string{"dst", e.remote.String(), "vni", "16777215"}, sentAs{0, e.remote, 4789, 16777215}},
	} {
		m := mac("02:00:00:00:0a:00")
		m[5] = byte(i)
		if c.words != nil {
			e.link.fdb(t, append([]string{"add", m.String()}, c.words...)...)
		}
		frame := (&echo{srcMAC: mac("02:00:00:00:0b:00"), dstMAC: m, src: netip.MustParseAddr("10.0.0.1"), dst: netip.MustParseAddr("10.0.0.2"), id: uint16(i)}).frame(t)
		check(t, e.link.SendFrame(e.link.dev, frame))
		e.wires[c.want.wire].await(t, 1, c.want.holds(uint16(i)))
		e.wires[1-c.want.wire].await(t, 0, c.want.holds(uint16(i)))
	}
}

func (s sentAs) holds(id uint16) func(lab.Frame) bool {
	return func(f lab.Frame) bool {
		e, ok := dissect.DecodeVXLAN(f, s.port)
		if !ok || !isEcho(id)(lab.Frame{Data: e.Inner.Data()}) {
			return false
		}
		dst, _ := netip.AddrFromSlice(e.Outer.NetworkLayer().NetworkFlow().Dst().Raw())
		return dst == s.dst && e.VXLAN.VNI == s.vni
	}
}
