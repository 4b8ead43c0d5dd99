package cli

import (
	"encoding/json"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestWordsOfAddr(t *testing.T) {
	base := func(prefix string, change func(*netlink.Addr)) *netlink.Addr {
		ip, n, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if four := ip.To4(); four != nil {
			ip = four
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: n.Mask}, Broadcast: net.IPv4zero.To4()}
		if change != nil {
			change(a)
		}
		return a
	}
	for line, want := range map[string]*netlink.Addr{
		"10.5.0.1/24":         base("10.5.0.1/24", nil),
		"local 10.5.0.1/24":   base("10.5.0.1/24", nil),
		"10.5.0.1":            base("10.5.0.1/32", nil),
		"2001:db8::1/64":      base("2001:db8::1/64", nil),
		"10.5.0.1/24 brd -":   base("10.5.0.1/24", nil),
		"10.5.0.1/20 brd +":   base("10.5.0.1/20", func(a *netlink.Addr) { a.Broadcast = net.IP{10, 5, 15, 255} }),
		"127.0.0.2/8":         base("127.0.0.2/8", func(a *netlink.Addr) { a.Scope = unix.RT_SCOPE_HOST }),
		"127.0.0.2/8 scope 0": base("127.0.0.2/8", nil),
		"10.5.0.1/24 broadcast 10.5.0.9 scope link label vx0:1": base("10.5.0.1/24", func(a *netlink.Addr) {
			a.Broadcast, a.Scope, a.Label = net.IP{10, 5, 0, 9}, unix.RT_SCOPE_LINK, "vx0:1"
		}),
		"2001:db8::1/64 nodad noprefixroute": base("2001:db8::1/64", func(a *netlink.Addr) { a.Flags = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE }),
		"10.6.0.1 peer 10.6.0.2/24": base("10.6.0.1/32", func(a *netlink.Addr) {
			a.Peer = &net.IPNet{IP: net.IP{10, 6, 0, 2}, Mask: net.CIDRMask(24, 32)}
		}),
	} {
		w, err := readAddress("add", strings.Fields(line+" dev vx0"))
		if err != nil || w.dev != "vx0" || !reflect.DeepEqual(w.address(), want) {
			t.Errorf("%s: %+v, %v, want %+v", line, w, err, want)
		}
	}
}

// The lines are those of `ip addr` (iproute2 6.1), and so are the objects.
func TestAddressLines(t *testing.T) {
	ipnet := func(s string) *net.IPNet { return ipNet(prefixes(s)[0]) }
	forever := uint32(math.MaxUint32)
	permanent := func(a netlink.Addr) netlink.Addr {
		a.Flags |= unix.IFA_F_PERMANENT
		a.ValidLft, a.PreferedLft = int(forever), int(forever)
		return a
	}
	for _, c := range []struct {
		addr       netlink.Addr
		text, json string
	}{
		{
			permanent(netlink.Addr{IPNet: ipnet("10.5.0.1/24"), Label: "vx0"}),
			"    inet 10.5.0.1/24 scope global vx0\n       valid_lft forever preferred_lft forever\n",
			`{"family":"inet","local":"10.5.0.1","prefixlen":24,"scope":"global","label":"vx0","valid_life_time":4294967295,"preferred_life_time":4294967295}`,
		},
		{
			permanent(netlink.Addr{IPNet: ipnet("10.5.0.8/24"), Label: "vx0", Broadcast: net.IP{10, 5, 0, 255}, Flags: unix.IFA_F_SECONDARY}),
			"    inet 10.5.0.8/24 brd 10.5.0.255 scope global secondary vx0\n       valid_lft forever preferred_lft forever\n",
			`{"family":"inet","local":"10.5.0.8","prefixlen":24,"broadcast":"10.5.0.255","scope":"global","secondary":true,"label":"vx0","valid_life_time":4294967295,"preferred_life_time":4294967295}`,
		},
		{
			permanent(netlink.Addr{IPNet: ipnet("10.6.0.1/32"), Peer: ipnet("10.6.0.2/32"), Label: "vx0"}),
			"    inet 10.6.0.1 peer 10.6.0.2/32 scope global vx0\n       valid_lft forever preferred_lft forever\n",
			`{"family":"inet","local":"10.6.0.1","address":"10.6.0.2","prefixlen":32,"scope":"global","label":"vx0","valid_life_time":4294967295,"preferred_life_time":4294967295}`,
		},
		{
			permanent(netlink.Addr{IPNet: ipnet("fe80::ff:fe00:6/64"), Scope: unix.RT_SCOPE_LINK, Flags: unix.IFA_F_TENTATIVE}),
			"    inet6 fe80::ff:fe00:6/64 scope link tentative \n       valid_lft forever preferred_lft forever\n",
			`{"family":"inet6","local":"fe80::ff:fe00:6","prefixlen":64,"scope":"link","tentative":true,"valid_life_time":4294967295,"preferred_life_time":4294967295}`,
		},
		{
			netlink.Addr{IPNet: ipnet("2001:db8::9/64"), ValidLft: 20, PreferedLft: 10},
			"    inet6 2001:db8::9/64 scope global dynamic \n       valid_lft 20sec preferred_lft 10sec\n",
			`{"family":"inet6","local":"2001:db8::9","prefixlen":64,"scope":"global","dynamic":true,"valid_life_time":20,"preferred_life_time":10}`,
		},
	} {
		j := addressAsJSON(&c.addr)
		var text strings.Builder
		j.writeText(&text)
		if text.String() != c.text {
			t.Errorf("got\n%swant\n%s", text.String(), c.text)
		}
		if got, err := json.Marshal(j); err != nil || string(got) != c.json {
			t.Errorf("%v\ngot  %s\nwant %s", err, got, c.json)
		}
	}
}

func TestAddrShow(t *testing.T) {
	status, stdout, stderr := weft(t, "addr", "show", "dev", "lo")
	if status != done || stderr != "" || !strings.Contains(stdout, "lo: <LOOPBACK") || !strings.Contains(stdout, "link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n") {
		t.Errorf("status %d, %q\n%s", status, stderr, stdout)
	}
	var all []addressedJSON
	status, stdout, _ = weft(t, "-j", "addr")
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || status != done || all[0].Name != "lo" {
		t.Errorf("status %d, %v: %s", status, err, stdout)
	}
	for _, line := range []string{"addr show nosuch", "addr add 10.5.0.1/24 dev nosuch", "address del 10.5.0.1/24 dev nosuch"} {
		if status, _, stderr := weft(t, strings.Fields(line)...); status != failed || !strings.Contains(stderr, `no device "nosuch"`) {
			t.Errorf("%s: status %d, %q", line, status, stderr)
		}
	}
}
