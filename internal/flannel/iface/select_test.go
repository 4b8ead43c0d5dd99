package iface

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// twoLegs is a host with two interfaces to a router: eth0 with the default
// routes, and eth1 with two addresses of each family.
func twoLegs(t *testing.T) *lab.Host {
	t.Helper()
	h, router := lab.TestHost(t, "h"), lab.TestHost(t, "router")
	connect(t, lab.Port{Host: h, Dev: "eth0", Addrs: prefixes("10.4.7.21/24", "fd00:7::21/64")}, lab.Port{Host: router, Dev: "r0", Addrs: prefixes("10.4.7.1/24", "fd00:7::1/64")})
	connect(t, lab.Port{Host: h, Dev: "eth1", MTU: 9000, Addrs: prefixes("10.5.0.21/24", "10.5.0.22/24", "fd00:5::21/64")}, lab.Port{Host: router, Dev: "r1", Addrs: prefixes("10.5.0.1/24")})
	for _, via := range []string{"10.4.7.1", "fd00:7::1"} {
		defaultRoute(t, h, "eth0", via, 100)
	}
	return h
}

func connect(t *testing.T, a, b lab.Port) {
	t.Helper()
	check(t, lab.Connect(a, b))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func defaultRoute(t *testing.T, h *lab.Host, dev, via string, metric int) {
	t.Helper()
	l, err := h.Netlink().LinkByName(dev)
	check(t, err)
	check(t, h.Netlink().RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(via), Priority: metric}))
}

func selectIn(t *testing.T, h *lab.Host, c Choice, v6 bool) (n backend.Node, err error) {
	t.Helper()
	_ = h.Do(func() error { n, err = c.Select(v6); return nil })
	return n, err
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestSelect(t *testing.T) {
	h := twoLegs(t)
	re := func(texts ...string) (all []*regexp.Regexp) {
		for _, s := range texts {
			all = append(all, regexp.MustCompile(s))
		}
		return all
	}
	for name, c := range map[string]struct {
		Choice
		v6              bool
		iface           string
		addr, addr6     string
		public, public6 string
		mtu             int
	}{
		"default route":          {Choice{}, false, "eth0", "10.4.7.21", "", "10.4.7.21", "", 1500},
		"both families":          {Choice{}, true, "eth0", "10.4.7.21", "fd00:7::21", "10.4.7.21", "fd00:7::21", 1500},
		"name":                   {Choice{Ifaces: []string{"eth1"}}, false, "eth1", "10.5.0.21", "", "10.5.0.21", "", 9000},
		"name, both":             {Choice{Ifaces: []string{"eth1"}}, true, "eth1", "10.5.0.21", "fd00:5::21", "10.5.0.21", "fd00:5::21", 9000},
		"address":                {Choice{Ifaces: []string{"10.5.0.22"}}, false, "eth1", "10.5.0.22", "", "10.5.0.22", "", 9000},
		"IPv6 address":           {Choice{Ifaces: []string{"fd00:5::21"}}, true, "eth1", "10.5.0.21", "fd00:5::21", "10.5.0.21", "fd00:5::21", 9000},
		"first that is there":    {Choice{Ifaces: []string{"wg0", "10.9.9.9", "eth1", "eth0"}}, false, "eth1", "10.5.0.21", "", "10.5.0.21", "", 9000},
		"regex of an address":    {Choice{Regexes: re(`^10\.5\..*2$`)}, false, "eth1", "10.5.0.22", "", "10.5.0.22", "", 9000},
		"regex of a name":        {Choice{Regexes: re(`^en`, `^eth[1-9]`)}, false, "eth1", "10.5.0.21", "", "10.5.0.21", "", 9000},
		"address before name":    {Choice{Regexes: re(`eth0|10\.5`)}, false, "eth1", "10.5.0.21", "", "10.5.0.21", "", 9000},
		"iface before regex":     {Choice{Ifaces: []string{"eth0"}, Regexes: re("eth1")}, false, "eth0", "10.4.7.21", "", "10.4.7.21", "", 1500},
		"regex when no iface is": {Choice{Ifaces: []string{"wg0"}, Regexes: re("eth1")}, false, "eth1", "10.5.0.21", "", "10.5.0.21", "", 9000},
		"can reach":              {Choice{CanReach: addr("10.5.0.77")}, false, "eth1", "10.5.0.21", "", "10.5.0.21", "", 9000},
		"can reach far off":      {Choice{CanReach: addr("192.0.2.1")}, false, "eth0", "10.4.7.21", "", "10.4.7.21", "", 1500},
		"regex before can reach": {Choice{Regexes: re("eth1"), CanReach: addr("10.4.7.1")}, false, "eth1", "10.5.0.21", "", "10.5.0.21", "", 9000},
		"public alone":           {Choice{Public: addr("10.5.0.22")}, false, "eth1", "10.5.0.22", "", "10.5.0.22", "", 9000},
		"public and iface":       {Choice{Ifaces: []string{"eth1"}, Public: addr("203.0.113.9")}, false, "eth1", "10.5.0.21", "", "203.0.113.9", "", 9000},
		"public of both": {Choice{Ifaces: []string{"eth1"}, Public: addr("203.0.113.9"), Public6: addr("2001:db8::9")}, true,
			"eth1", "10.5.0.21", "fd00:5::21", "203.0.113.9", "2001:db8::9", 9000},
		"IPv6 not asked for": {Choice{Ifaces: []string{"eth1"}, Public6: addr("2001:db8::9")}, false, "eth1", "10.5.0.21", "", "10.5.0.21", "", 9000},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := selectIn(t, h, c.Choice, c.v6)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{n.Interface, n.Addr.String(), text(n.Addr6), n.Public.String(), text(n.Public6)}
			want := []string{c.iface, c.addr, c.addr6, c.public, c.public6}
			if strings.Join(got, " ") != strings.Join(want, " ") || n.MTU != c.mtu || n.Index == 0 {
				t.Errorf("%v MTU %d index %d, want %v MTU %d", got, n.MTU, n.Index, want, c.mtu)
			}
		})
	}
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// Whatever cannot be is told with what the host has.
func TestSelectRefuses(t *testing.T) {
	h := twoLegs(t)
	for name, c := range map[string]struct {
		Choice
		want string
	}{
		"no such name":    {Choice{Ifaces: []string{"wg0"}}, "--iface=wg0: there is no such interface; this host has lo"},
		"all that failed": {Choice{Ifaces: []string{"wg0", "10.9.9.9"}, Regexes: []*regexp.Regexp{regexp.MustCompile("^en")}}, "--iface=wg0: there is no such interface; --iface=10.9.9.9: no interface of this host has the address; --iface-regex=^en: no address and no name matches; this host has lo (127.0.0.1 ::1), "},
		"unreachable":     {Choice{CanReach: addr("fd77::1")}, ""},
		"public alone":    {Choice{Public: addr("203.0.113.9")}, "--public-ip=203.0.113.9: no interface of this host has the address; behind NAT, name the interface too, with --iface"},
		"its addresses":   {Choice{Ifaces: []string{"wg0"}}, "eth1 (10.5.0.21 10.5.0.22 fd00:5::21 fe80::"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := selectIn(t, h, c.Choice, false)
			if c.want == "" {
				if err == nil && n.Interface != "eth0" {
					t.Errorf("%+v", n)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v %v, want %s", n, err, c.want)
			}
		})
	}
}

// The default route of the lowest metric counts, and both families' must be on
// one interface.
func TestDefaultRoutes(t *testing.T) {
	h := twoLegs(t)
	defaultRoute(t, h, "eth1", "10.5.0.1", 50)
	if n, err := selectIn(t, h, Choice{}, false); err != nil || n.Interface != "eth1" {
		t.Error(n, err)
	}
	_, err := selectIn(t, h, Choice{}, true)
	if err == nil || !strings.Contains(err.Error(), "default route of IPv4 is on eth1 and that of IPv6 on eth0; name the interface with --iface") {
		t.Error(err)
	}
	lonely := lab.TestHost(t, "lonely")
	if _, err := selectIn(t, lonely, Choice{}, false); err == nil || !strings.Contains(err.Error(), "there is no default route of IPv4") {
		t.Error(err)
	}
}

func TestDefaultRouteOfSeveralHops(t *testing.T) {
	h := lab.TestHost(t, "h")
	peer := lab.TestHost(t, "peer")
	connect(t, lab.Port{Host: h, Dev: "eth0", Addrs: prefixes("10.4.7.21/24")}, lab.Port{Host: peer, Dev: "r0"})
	connect(t, lab.Port{Host: h, Dev: "eth1", Addrs: prefixes("10.5.0.21/24")}, lab.Port{Host: peer, Dev: "r1"})
	var hops []*netlink.NexthopInfo
	for dev, via := range map[string]string{"eth0": "10.4.7.1", "eth1": "10.5.0.1"} {
		l, err := h.Netlink().LinkByName(dev)
		check(t, err)
		hops = append(hops, &netlink.NexthopInfo{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(via)})
	}
	check(t, h.Netlink().RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, MultiPath: hops}))
	_, err := selectIn(t, h, Choice{}, false)
	if err == nil || !strings.Contains(err.Error(), "several next hops; name the interface with --iface") {
		t.Error(err)
	}
}

// An interface without an address, or without one of a family that is needed,
// is none.
func TestInterfaceWithoutAddress(t *testing.T) {
	h, peer := lab.TestHost(t, "h"), lab.TestHost(t, "peer")
	connect(t, lab.Port{Host: h, Dev: "eth0"}, lab.Port{Host: peer, Dev: "r0"})
	connect(t, lab.Port{Host: h, Dev: "eth1", Addrs: prefixes("169.254.7.1/16", "10.5.0.21/24")}, lab.Port{Host: peer, Dev: "r1"})
	_, err := selectIn(t, h, Choice{Ifaces: []string{"eth0"}}, false)
	if err == nil || !strings.Contains(err.Error(), "interface eth0 has no IPv4 address") {
		t.Error(err)
	}
	n, err := selectIn(t, h, Choice{Ifaces: []string{"eth0", "eth1"}}, false)
	if err != nil || n.Addr != addr("10.5.0.21") {
		t.Error("a link-local address before another:", n, err)
	}
}

func TestRank(t *testing.T) {
	at := func(s string, flags int) netlink.Addr {
		ip, ipNet, err := net.ParseCIDR(s)
		check(t, err)
		ipNet.IP = ip
		return netlink.Addr{IPNet: ipNet, Flags: flags, LinkIndex: 3}
	}
	const forever, secondary = unix.IFA_F_PERMANENT, unix.IFA_F_SECONDARY
	got := usable([]netlink.Addr{
		at("fe80::1/64", forever), at("fd00::1/64", forever|unix.IFA_F_DEPRECATED), at("fd00::2/64", forever|unix.IFA_F_TENTATIVE),
		at("fd00::3/64", unix.IFA_F_TEMPORARY), at("fd00::4/64", 0), at("fd00::5/64", forever),
		at("10.0.0.9/24", 0), at("10.0.0.1/24", forever), at("10.0.0.2/24", forever|secondary), at("10.0.0.3/24", forever),
	}, 3)
	want := "[fd00::5 10.0.0.1 10.0.0.2 10.0.0.3 fd00::4 10.0.0.9 fd00::3 fe80::1]"
	if s := fmt.Sprint(got); s != want {
		t.Errorf("%s, want %s", s, want)
	}
}
