package interop

import (
	"net/netip"
	"strconv"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// kind says who is at an end of a link.
type kind string

const (
	user   kind = "user"   // weft
	kernel kind = "kernel" // the kernel's vxlan device
)

// pairing is who is at the two ends.
type pairing struct{ a, b kind }

func (p pairing) String() string { return string(p.a) + "-" + string(p.b) }

// pairings are the four. The last one is the control: if it fails, the lab is
// wrong, not weft.
var pairings = []pairing{{user, kernel}, {kernel, user}, {user, user}, {kernel, kernel}}

// vtep is one end: a host with a link.
type vtep struct {
	*lab.Host
	kind kind
	weft *weft // nil for the kernel's
	link string
	addr netip.Addr // of the link, the first that was added
}

// spec is what a link is made of, for either kind. Words are appended to
// weft's command line only.
type spec struct {
	lab.VXLAN
	Words []string
	Env   []string       // of weft's daemon
	Addrs []netip.Prefix // of the device
}

// addVTEP makes a link, gives it its addresses and brings it up.
func addVTEP(t *testing.T, h *lab.Host, k kind, s spec) *vtep {
	t.Helper()
	v := &vtep{Host: h, kind: k, link: s.Name}
	if k == kernel {
		lab.NeedKernelVXLAN(t)
		check(t, h.AddKernelVXLAN(s.VXLAN))
	} else {
		lab.NeedTUN(t)
		v.weft = newWeft(t, h, s.Env...)
		v.weft.must(s.command()...)
	}
	for i, p := range s.Addrs {
		if i == 0 {
			v.addr = p.Addr()
		}
		check(t, h.AddAddr(s.Name, p))
	}
	check(t, h.SetUp(s.Name))
	return v
}

// addLink makes one more link of weft's in the same host, and brings it up.
func (v *vtep) addLink(t *testing.T, s spec) {
	t.Helper()
	v.weft.must(s.command()...)
	for _, p := range s.Addrs {
		check(t, v.AddAddr(s.Name, p))
	}
	check(t, v.SetUp(s.Name))
}

// command is the line that `ip link add` would have, without the ip.
func (s *spec) command() []string {
	line := []string{"link", "add", s.Name}
	if s.MTU != 0 {
		line = append(line, "mtu", strconv.Itoa(s.MTU))
	}
	if s.Address != nil {
		line = append(line, "address", s.Address.String())
	}
	line = append(line, "type", "vxlan", "id", strconv.Itoa(int(s.ID)), "dstport", strconv.Itoa(int(s.Port)))
	word := func(name, value string, given bool) {
		if given {
			line = append(line, name, value)
		}
	}
	word("remote", s.Remote.String(), s.Remote.IsValid())
	word("local", s.Local.String(), s.Local.IsValid())
	word("dev", s.Dev, s.Dev != "")
	if s.SrcPortLow != 0 || s.SrcPortHigh != 0 {
		line = append(line, "srcport", strconv.Itoa(int(s.SrcPortLow)), strconv.Itoa(int(s.SrcPortHigh)))
	}
	word("ttl", strconv.Itoa(int(s.TTL)), s.TTL != 0)
	word("ttl", "inherit", s.TTLInherit)
	word("tos", strconv.FormatUint(uint64(s.TOS), 16), s.TOS > 1) // hexadecimal, as ip takes it
	word("tos", "inherit", s.TOS == 1)
	word("df", "set", s.DF == lab.DFSet)
	word("df", "inherit", s.DF == lab.DFInherit)
	word("flowlabel", strconv.Itoa(int(s.FlowLabel)), s.FlowLabel != 0)
	for name, given := range map[string]bool{
		"noudpcsum": s.NoUDPCSum, "udp6zerocsumtx": s.UDP6ZeroCSumTx, "udp6zerocsumrx": s.UDP6ZeroCSumRx,
		"proxy": s.Proxy, "l2miss": s.L2Miss, "l3miss": s.L3Miss,
	} {
		if given {
			line = append(line, name)
		}
	}
	return append(line, s.Words...)
}

// underlay is the address family of the wire.
type underlay struct {
	name string
	a, b netip.Addr
}

var (
	underlay4 = underlay{"IPv4", lab.PairA4.Addr(), lab.PairB4.Addr()}
	underlay6 = underlay{"IPv6", lab.PairA6.Addr(), lab.PairB6.Addr()}
)

// The addresses of the two ends' links: the tutorial's, and IPv6 ones beside.
var (
	innerA = []netip.Prefix{netip.MustParsePrefix("10.20.1.2/24"), netip.MustParsePrefix("fd20::2/64")}
	innerB = []netip.Prefix{netip.MustParsePrefix("10.20.1.3/24"), netip.MustParsePrefix("fd20::3/64")}
)

// connect joins two fresh hosts by a wire, and by the link of the tutorial
// (VNI 5, port 4789, remote, local and dev given) with one kind at each end.
// adjust may change what either end is made of.
func connect(t *testing.T, p pairing, u underlay, adjust func(a, b *spec)) (a, b *vtep) {
	t.Helper()
	ha, hb := lab.TestPair(t)
	return connectHosts(t, ha, hb, p, u, adjust)
}

// connectHosts is connect for two hosts that a Pair's wire joins already.
func connectHosts(t *testing.T, ha, hb *lab.Host, p pairing, u underlay, adjust func(a, b *spec)) (a, b *vtep) {
	t.Helper()
	sa := spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Remote: u.b, Local: u.a, Dev: "eth0"}, Addrs: innerA}
	sb := spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Remote: u.a, Local: u.b, Dev: "eth0"}, Addrs: innerB}
	if adjust != nil {
		adjust(&sa, &sb)
	}
	return addVTEP(t, ha, p.a, sa), addVTEP(t, hb, p.b, sb)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
