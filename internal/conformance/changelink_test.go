package conformance

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What may be changed of a link while it runs, and what not: first
// test_vxlan_fdb_changelink.sh, then all words of `ip link set type vxlan`.

// The kernel says in words what it does not allow, if it is asked to.
func init() { nl.EnableErrorMessageReporting = true }

// changed is one change: the words, and the attribute that ip makes of them.
type changed struct {
	words string
	attr  int
	value []byte
}

// try makes the change and returns what became of it.
func (c *changed) try(l *link) error {
	if l.kind == user {
		_, err := l.weft.Must(append([]string{"link", "set", l.dev, "type", "vxlan"}, strings.Fields(c.words)...)...)
		return err
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.dev)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("vxlan"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(c.attr, c.value)
	req.AddData(info)
	return l.Do(func() error {
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

func be16(numbers ...uint16) (b []byte) {
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// test_vxlan_fdb_changelink.sh, check_remotes: two remotes of the default entry
// stay two when one of them is made the link's remote.
func TestVXLANFDBChangelink(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		a := newAlone(t, k, v6, nil)
		one, two := a.other(t, 1), a.other(t, 2)
		a.fdb(t, "append", zeroMAC, "dst", one, "self", "permanent")
		a.fdb(t, "append", zeroMAC, "dst", two, "self", "permanent")
		want := []string{zeroMAC + " dst " + one + " self permanent", zeroMAC + " dst " + two + " self permanent"}
		a.awaitEntry(t, zeroMAC, want...)
		a.set(t, "remote", two)
		a.awaitEntry(t, zeroMAC, want...)
		if to := a.destinations(t, 2, unknownFrame(v6, 0)); !slices.Equal(to, []string{one, two}) {
			t.Errorf("a frame for nobody known went to %v, want %v and %v", to, one, two)
		}
	})
}

// unknownFrame is a packet for a station that nobody knows.
func unknownFrame(v6 bool, tos uint8) []byte {
	f := ether(unknownMAC, mac(macA), uint16(layers.EthernetTypeIPv4), make([]byte, 60))
	copy(f[14:], []byte{0x45, tos, 0, 60, 0, 0, 0, 0, 9, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
	if v6 {
		binary.BigEndian.PutUint16(f[12:], uint16(layers.EthernetTypeIPv6))
		copy(f[14:], []byte{0x60 | tos>>4, tos << 4, 0, 0, 0, 20, 253, 9, 0xfd, 15: 1, 16 + 7: 1, 31: 2})
		f[14+24] = 0xfd
	}
	return f
}

// outerIs is what a change shows in: the outer header of a frame.
type outerIs struct {
	src, dst string
	ttl, tos uint8
	df       bool
	label    uint32
}

func outerOf(e *dissect.Encapsulated) outerIs {
	flow := e.Outer.NetworkLayer().NetworkFlow()
	src, _ := netip.AddrFromSlice(flow.Src().Raw())
	o := outerIs{src: src.String(), dst: outerDestination(e).String()}
	if e.IPv6 != nil {
		o.ttl, o.tos, o.label = e.IPv6.HopLimit, e.IPv6.TrafficClass, e.IPv6.FlowLabel
	} else {
		o.ttl, o.tos, o.df = e.IPv4.TTL, e.IPv4.TOS, e.IPv4.Flags&layers.IPv4DontFragment != 0
	}
	return o
}

// Each word that may be changed shows on the wire with the next frame, and what
// was not named stays.
func TestChangelinkOuterHeader(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		a := newAlone(t, k, v6, func(s *spec) { s.TTL, s.TOS = 9, 0x20 })
		one, two := a.other(t, 0), a.other(t, 1)
		elsewhere := a.secondAddress(t)
		is := outerIs{src: a.local.String(), dst: one, ttl: 9, tos: 0x20}
		group, local := unix.IFLA_VXLAN_GROUP, unix.IFLA_VXLAN_LOCAL
		if v6 {
			group, local = unix.IFLA_VXLAN_GROUP6, unix.IFLA_VXLAN_LOCAL6
		}
		address := func(s string) []byte { return netip.MustParseAddr(s).AsSlice() }
		for _, c := range []struct {
			changed
			v4, v6 bool
			effect func(*outerIs)
		}{
			{changed{"remote " + one, group, address(one)}, true, true, func(*outerIs) {}},
			{changed{"ttl 7", unix.IFLA_VXLAN_TTL, []byte{7}}, true, true, func(o *outerIs) { o.ttl = 7 }},
			{changed{"tos 48", unix.IFLA_VXLAN_TOS, []byte{0x48}}, true, true, func(o *outerIs) { o.tos = 0x48 }},
			{changed{"remote " + two, group, address(two)}, true, true, func(o *outerIs) { o.dst = two }},
			{changed{"tos inherit", unix.IFLA_VXLAN_TOS, []byte{1}}, true, true, func(o *outerIs) { o.tos = 0x88 }},
			{changed{"local " + elsewhere, local, address(elsewhere)}, true, true, func(o *outerIs) { o.src = elsewhere }},
			// While the TOS is inherited: else Linux 6.18 goes on with the source
			// address that it keeps with the route.
			{changed{"local " + a.local.String(), local, a.local.AsSlice()}, true, true, func(o *outerIs) { o.src = a.local.String() }},
			{changed{"df set", unix.IFLA_VXLAN_DF, []byte{1}}, true, false, func(o *outerIs) { o.df = true }},
			{changed{"df unset", unix.IFLA_VXLAN_DF, []byte{0}}, true, false, func(o *outerIs) { o.df = false }},
			{changed{"flowlabel 0x12345", unix.IFLA_VXLAN_LABEL, binary.BigEndian.AppendUint32(nil, 0x12345)}, false, true, func(o *outerIs) { o.label = 0x12345 }},
			{changed{"flowlabel 0", unix.IFLA_VXLAN_LABEL, make([]byte, 4)}, false, true, func(o *outerIs) { o.label = 0 }},
			{changed{"ttl auto", unix.IFLA_VXLAN_TTL, []byte{0}}, true, true, func(o *outerIs) { o.ttl = 64 }},
			{changed{"tos 0", unix.IFLA_VXLAN_TOS, []byte{0}}, true, true, func(o *outerIs) { o.tos = 0 }},
		} {
			if v6 && !c.v6 || !v6 && !c.v4 {
				continue
			}
			check(t, c.try(a.link))
			c.effect(&is)
			if got := outerOf(a.sent(t, 1, unknownFrame(v6, 0x88))[0]); got != is {
				t.Errorf("after link set %s a frame left as %+v, want %+v", c.words, got, is)
			}
		}
	})
}

// secondAddress gives the host one more address on the wire.
func (a *alone) secondAddress(t *testing.T) string {
	t.Helper()
	p := netip.MustParsePrefix("10.211.55.77/24")
	if a.v6 {
		p = netip.MustParsePrefix("fd00:211:55::77/64")
	}
	check(t, a.AddAddr("eth0", p))
	return p.Addr().String()
}

// A remote is taken away by the unspecified address, and changed without those
// that were appended by hand. One that is the same already changes nothing.
func TestChangelinkRemote(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		a := newAlone(t, k, v6, func(s *spec) {
			s.Remote = lab.PairB4.Addr()
			if v6 {
				s.Remote = lab.PairB6.Addr()
			}
		})
		one, two, three := a.other(t, 0), a.other(t, 1), a.other(t, 2)
		line := func(dst string) string { return zeroMAC + " dst " + dst + " self permanent" }
		a.fdb(t, "append", zeroMAC, "dst", two)
		a.awaitEntry(t, zeroMAC, line(one), line(two))
		a.set(t, "remote", one)
		a.awaitEntry(t, zeroMAC, line(one), line(two))
		a.set(t, "remote", three)
		a.awaitEntry(t, zeroMAC, line(two), line(three))
		a.set(t, "remote", one)
		a.awaitEntry(t, zeroMAC, line(two), line(one))
		none, attr := "0.0.0.0", unix.IFLA_VXLAN_GROUP
		if v6 {
			none, attr = "::", unix.IFLA_VXLAN_GROUP6
		}
		check(t, (&changed{"remote " + none, attr, netip.MustParseAddr(none).AsSlice()}).try(a.link))
		a.awaitEntry(t, zeroMAC, line(two))
	})
}

// The device of the remote is that of the entry which the remote makes: a
// change of `dev` alone does not touch the entry, and a later one of the remote
// does not find it.
func TestChangelinkDev(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		a := newAlone(t, k, false, func(s *spec) { s.Remote, s.Dev = lab.PairB4.Addr(), "eth0" })
		check(t, lab.Connect(lab.Port{Host: a.Host, Dev: "eth1"}, lab.Port{Host: a.peer, Dev: "eth1"}))
		one, two, three := a.other(t, 0), a.other(t, 1), a.other(t, 2)
		line := func(dst, via string) string { return zeroMAC + " dst " + dst + " via " + via + " self permanent" }
		a.awaitEntry(t, zeroMAC, line(one, "eth0"))
		a.set(t, "remote", two, "dev", "eth1")
		a.awaitEntry(t, zeroMAC, line(two, "eth1"))
		a.set(t, "dev", "eth0")
		a.awaitEntry(t, zeroMAC, line(two, "eth1"))
		a.set(t, "remote", three)
		a.awaitEntry(t, zeroMAC, line(two, "eth1"), line(three, "eth0"))
		wantRefused(t, "dev nosuch", (&changed{"dev nosuch", unix.IFLA_VXLAN_LINK, nl.Uint32Attr(4711)}).try(a.link), "")
	})
}

// learning and ageing count from the next frame on.
func TestChangelinkLearning(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		a := newAlone(t, k, v6, nil)
		one := a.other(t, 0)
		a.set(t, "nolearning")
		a.deliverFrom(t, one, macA)
		a.set(t, "learning")
		a.deliverFrom(t, one, macB)
		a.awaitEntry(t, macB, macB+" dst "+one+" self ")
		a.awaitEntry(t, macA)
		a.set(t, "ageing", "1")
		a.set(t, "ageing", "2")
		check(t, lab.Eventually(agedLimit, func() error {
			if lines := a.entry(t, macB); len(lines) > 0 {
				return fmt.Errorf("aged out: still %q", lines)
			}
			return nil
		}))
	})
}

// refusals are what no link may have changed, and what it says then. Where ip
// has both a word and the same with no before it, both are refused.
func refusals() map[string][]changed {
	flags := map[string]int{
		"UDP_ZERO_CSUM6_TX": unix.IFLA_VXLAN_UDP_ZERO_CSUM6_TX, "UDP_ZERO_CSUM6_RX": unix.IFLA_VXLAN_UDP_ZERO_CSUM6_RX,
		"PROXY": unix.IFLA_VXLAN_PROXY, "L2MISS": unix.IFLA_VXLAN_L2MISS, "L3MISS": unix.IFLA_VXLAN_L3MISS,
	}
	all := map[string][]changed{
		"Cannot change VNI":        {{"id 6", unix.IFLA_VXLAN_ID, nl.Uint32Attr(6)}},
		"Cannot change port":       {{"dstport 4790", unix.IFLA_VXLAN_PORT, be16(4790)}, {"dstport 4789", unix.IFLA_VXLAN_PORT, be16(4789)}},
		"Cannot change port range": {{"srcport 5 10", unix.IFLA_VXLAN_PORT_RANGE, be16(5, 10)}, {"srcport 32000 33000", unix.IFLA_VXLAN_PORT_RANGE, be16(32000, 33000)}},
		"Cannot change limit":      {{"maxaddress 7", unix.IFLA_VXLAN_LIMIT, nl.Uint32Attr(7)}, {"maxaddress 0", unix.IFLA_VXLAN_LIMIT, nl.Uint32Attr(0)}},
		"Cannot change UDP_CSUM flag": {
			{"udpcsum", unix.IFLA_VXLAN_UDP_CSUM, []byte{1}}, {"noudpcsum", unix.IFLA_VXLAN_UDP_CSUM, []byte{0}},
		},
		"cannot change TTL_INHERIT flag": {{"ttl inherit", unix.IFLA_VXLAN_TTL_INHERIT, nil}},
	}
	for name, attr := range flags {
		word := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(name, "ZERO_CSUM6_", "6zerocsum"), "UDP_6", "udp6"))
		all["cannot change "+name+" flag"] = []changed{{word, attr, []byte{1}}, {"no" + word, attr, []byte{0}}}
	}
	return all
}

// What may not be changed is refused in the same words, and nothing changes.
func TestChangelinkRefused(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		a := newAlone(t, k, v6, func(s *spec) { s.TTL, s.SrcPortLow, s.SrcPortHigh = 9, 32000, 33000 })
		one, two := a.other(t, 0), a.other(t, 1)
		a.set(t, "remote", one)
		before := outerOf(a.sent(t, 1, unknownFrame(v6, 0))[0])
		for text, all := range refusals() {
			for _, c := range all {
				wantRefused(t, "link set "+c.words, c.try(a.link), text)
			}
		}
		if k == user { // of several words all are refused
			c := changed{words: "remote " + two + " ttl 3 id 6"}
			wantRefused(t, "link set "+c.words, c.try(a.link), "Cannot change VNI")
		}
		if after := outerOf(a.sent(t, 1, unknownFrame(v6, 0))[0]); after != before {
			t.Errorf("after what was refused a frame left as %+v, before as %+v", after, before)
		}
		// What is as it is said to be already may be said.
		check(t, (&changed{"id 5", unix.IFLA_VXLAN_ID, nl.Uint32Attr(aloneVNI)}).try(a.link))
	})
}

// Addresses that no link could have been made with are refused too.
func TestChangelinkRefusedAddress(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		four, six := newAlone(t, k, false, nil), newAlone(t, k, true, nil)
		for _, c := range []struct {
			a *alone
			changed
		}{
			{four, changed{"remote 2001:db8::1", unix.IFLA_VXLAN_GROUP6, netip.MustParseAddr("2001:db8::1").AsSlice()}},
			{four, changed{"local 2001:db8::1", unix.IFLA_VXLAN_LOCAL6, netip.MustParseAddr("2001:db8::1").AsSlice()}},
			{six, changed{"remote 192.0.2.1", unix.IFLA_VXLAN_GROUP, netip.MustParseAddr("192.0.2.1").AsSlice()}},
			{six, changed{"local 192.0.2.1", unix.IFLA_VXLAN_LOCAL, netip.MustParseAddr("192.0.2.1").AsSlice()}},
			{four, changed{"local 239.1.1.1", unix.IFLA_VXLAN_LOCAL, netip.MustParseAddr("239.1.1.1").AsSlice()}},
			{four, changed{"group 239.1.1.1", unix.IFLA_VXLAN_GROUP, netip.MustParseAddr("239.1.1.1").AsSlice()}}, // no dev
			{six, changed{"remote fe80::1", unix.IFLA_VXLAN_GROUP6, netip.MustParseAddr("fe80::1").AsSlice()}},    // local is not link-local
		} {
			wantRefused(t, "link set "+c.words, c.try(c.a.link), "")
			c.a.awaitEntry(t, zeroMAC)
		}
	})
}
