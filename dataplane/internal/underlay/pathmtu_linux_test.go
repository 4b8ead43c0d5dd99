//go:build !portable

package underlay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// needHosts leaves a test out where it would change the machine's network.
func needHosts(t *testing.T) {
	t.Helper()
	if lab.RunDir() == "" {
		t.Skip("needs a network of its own")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pathMTUIn opens a PathMTU in a host, until the end of the test.
func pathMTUIn(t *testing.T, h *lab.Host, ipv6 bool, local netip.Addr) (p *PathMTU) {
	t.Helper()
	check(t, h.Do(func() (err error) { p, err = OpenPathMTU(ipv6, local); return err }))
	t.Cleanup(func() { p.Close() })
	return p
}

// socketsIn opens a socket that sends in one host and one that listens in
// another.
func socketsIn(t *testing.T, from, to *lab.Host, ipv6 bool) (socket *Socket, r *Receiver) {
	t.Helper()
	check(t, from.Do(func() error { socket = openTest(t, ipv6); return nil }))
	check(t, to.Do(func() error { r = listenTest(t, ipv6); return nil }))
	return socket, r
}

// routed is two hosts with a router between them. The wire behind the router
// carries less than the one in front of it.
type routed struct {
	a, b   *lab.Host
	remote netip.Addr // b
}

const narrow = 1400 // bytes of the second wire's MTU

func newRouted(t *testing.T, ipv6 bool) routed {
	t.Helper()
	needHosts(t)
	near, far := netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.2.0.0/24")
	if ipv6 {
		near, far = netip.MustParsePrefix("fd01::/64"), netip.MustParsePrefix("fd02::/64")
	}
	first := func(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr().Next(), p.Bits()) }
	second := func(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr().Next().Next(), p.Bits()) }
	n := routed{lab.TestHost(t, "a"), lab.TestHost(t, "b"), second(far).Addr()}
	router := lab.TestHost(t, "router")
	check(t, router.Sysctl("net.ipv4.ip_forward", "1"))
	check(t, router.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	check(t, lab.Connect(
		lab.Port{Host: n.a, Addrs: []netip.Prefix{second(near)}},
		lab.Port{Host: router, Addrs: []netip.Prefix{first(near)}}))
	check(t, lab.Connect(
		lab.Port{Host: n.b, MTU: narrow, Addrs: []netip.Prefix{second(far)}},
		lab.Port{Host: router, Dev: "eth1", MTU: narrow, Addrs: []netip.Prefix{first(far)}}))
	check(t, n.a.AddRoute(far, "eth0", first(near).Addr()))
	check(t, n.b.AddRoute(near, "eth0", first(far).Addr()))
	return n
}

// TestPathMTUFollowsRouter: what a router tells the sending socket, which is
// not connected, is seen by the other socket that asks, and from then on large
// datagrams are cut here, or dropped.
func TestPathMTUFollowsRouter(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		n := newRouted(t, ipv6)
		p := pathMTUIn(t, n.a, ipv6, netip.Addr{})
		socket, r := socketsIn(t, n.a, n.b, ipv6)
		s, book := NewSender(), &ledger{}
		flow := flowTo(socket, book, r.port)
		flow.Remote, flow.DF = netip.AddrPortFrom(n.remote, r.port), true
		if got := p.Of(n.remote, 0, 0); got != 1500 {
			t.Fatalf("before anything was sent: %d, want 1500", got)
		}
		queue(s, flow, filled(narrow, 1))
		s.Flush()
		wantLedger(t, book, 1, narrow, 0) // nothing was known yet
		now := time.Duration(0)
		check(t, lab.Eventually(5*time.Second, func() error {
			now += 2 * answerAge
			if got := p.Of(n.remote, 0, now); got != narrow {
				return fmt.Errorf("%d, want %d", got, narrow)
			}
			return nil
		}))
		queue(s, flow, filled(narrow, 2))
		s.Flush()
		if book.dropped != 1 || !errors.Is(book.why[0], unix.EMSGSIZE) {
			t.Errorf("once it is known: dropped %d, %v", book.dropped, book.why)
		}
		// What may be cut arrives; over IPv6 nothing may.
		flow.DF = false
		queue(s, flow, filled(narrow, 3))
		queue(s, flow, filled(100, 4))
		s.Flush()
		want := [][]byte{filled(narrow, 3), filled(100, 4)}
		if ipv6 {
			want = want[1:]
		}
		for i, got := range receiveAll(t, r, len(want)) {
			if got.data != string(want[i]) {
				t.Errorf("datagram %d: %d bytes, want %d", i, len(got.data), len(want[i]))
			}
		}
	})
}

// TestPathMTUWithoutDF: an IPv4 datagram that may be cut is cut by the router,
// which tells nobody. It is so for the kernel's device too. A socket that may
// be told nothing (IP_PMTUDISC_DONT) passes on what it is told all the same.
func TestPathMTUWithoutDF(t *testing.T) {
	n := newRouted(t, false)
	p := pathMTUIn(t, n.a, false, netip.Addr{})
	socket, r := socketsIn(t, n.a, n.b, false)
	s := NewSender()
	flow := flowTo(socket, &ledger{}, r.port)
	flow.Remote = netip.AddrPortFrom(n.remote, r.port)
	wire := lab.TestCapture(t, n.a, "eth0")
	queue(s, flow, filled(narrow, 1))
	s.Flush()
	receiveAll(t, r, 1)
	if got := p.Of(n.remote, 0, 0); got != 1500 {
		t.Errorf("%d, want 1500", got)
	}
	var sent []byte // the packet's headers
	for _, f := range wire.Stop() {
		if ip, ok := ipv4Of(f); ok && f.Outgoing {
			sent = f.Data[14:42]
			if ip.Length != narrow+28 || ip.Flags != 0 {
				t.Errorf("%d bytes of IPv4 leave, flags %v; want one packet of %d without DF", ip.Length, ip.Flags, narrow+28)
			}
		}
	}
	check(t, n.b.Do(func() error { return sendFragmentationNeeded(sent, 1234) }))
	check(t, lab.Eventually(5*time.Second, func() error {
		if got := pathMTUIn(t, n.a, false, netip.Addr{}).Of(n.remote, 0, 0); got != 1234 {
			return fmt.Errorf("after ICMP: %d, want 1234", got)
		}
		return nil
	}))
}

// sendFragmentationNeeded tells the sender of a packet that it does not fit
// (RFC 1191 §4).
func sendFragmentationNeeded(headers []byte, mtu uint16) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	message := append([]byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, headers...)
	binary.BigEndian.PutUint16(message[2:], ^encap.Checksum(message, 0))
	return unix.Sendto(fd, message, 0, &unix.SockaddrInet4{Addr: [4]byte(headers[12:])})
}

// TestPathMTUOfDevices: without routers the device says it, the one that was
// asked for, for groups too.
func TestPathMTUOfDevices(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, b := lab.TestPair(t)
		check(t, lab.Connect(lab.Port{Host: a, Dev: "eth1", MTU: 1300}, lab.Port{Host: b, Dev: "eth1", MTU: 1300}))
		eth0, eth1 := indexOf(t, a, "eth0"), indexOf(t, a, "eth1")
		remote, group, own := lab.PairB4.Addr(), netip.MustParseAddr("239.1.1.1"), lab.PairA4.Addr()
		far, other := netip.MustParseAddr("192.0.2.1"), lab.PairB6.Addr()
		local := netip.MustParseAddr("224.0.0.251")
		if ipv6 {
			remote, group, own = lab.PairB6.Addr(), netip.MustParseAddr("ff05::1"), lab.PairA6.Addr()
			far, other = netip.MustParseAddr("2001:db8::1"), lab.PairB4.Addr()
			local = netip.MustParseAddr("ff02::fb")
		}
		for _, from := range []netip.Addr{{}, own, far, other} {
			p := pathMTUIn(t, a, ipv6, from)
			for _, c := range []struct {
				remote  netip.Addr
				ifIndex int
				want    int
			}{
				{remote, 0, 1500}, {remote, eth0, 1500}, {remote, eth1, 1300},
				{group, eth0, 1500}, {group, eth1, 1300}, {group, eth0, 1500},
				{local, eth1, 1300}, {local, eth0, 1500},
				{far, 0, 0}, {far, eth1, 1300}, {far, 9999, 0}, {remote, 0, 1500},
				{other, 0, 0}, {netip.Addr{}, 0, 0}, {netip.Addr{}, eth0, 0},
			} {
				if ipv6 && !c.remote.IsMulticast() && c.ifIndex == eth1 {
					c.want = 0 // IPv4 takes what it has no route to for a neighbour on the device, IPv6 does not
				}
				if got := p.Of(c.remote, c.ifIndex, 0); got != c.want {
					t.Errorf("from %v to %v by device %d: %d, want %d", from, c.remote, c.ifIndex, got, c.want)
				}
			}
		}
	})
}

// TestPathMTUFromLocal has a route of its own for what comes from one of the
// host's addresses.
func TestPathMTUFromLocal(t *testing.T) {
	needHosts(t)
	a, _ := lab.TestPair(t)
	local := netip.MustParsePrefix("10.211.55.77/32")
	check(t, a.AddAddr("eth0", local))
	_, anywhere, err := net.ParseCIDR("0.0.0.0/0")
	check(t, err)
	const table = 100
	check(t, a.Netlink().RouteAdd(&netlink.Route{LinkIndex: indexOf(t, a, "eth0"), Dst: anywhere, Table: table, MTU: 1234, Scope: netlink.SCOPE_LINK}))
	rule := netlink.NewRule()
	rule.Family, rule.Table, rule.Src = unix.AF_INET, table, &net.IPNet{IP: local.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}
	check(t, a.Netlink().RuleAdd(rule))
	for from, want := range map[netip.Addr]int{{}: 1500, lab.PairA4.Addr(): 1500, local.Addr(): 1234} {
		p := pathMTUIn(t, a, false, from)
		for i := range 2 {
			if got := p.Of(lab.PairB4.Addr(), 0, time.Duration(i)*time.Hour); got != want {
				t.Errorf("from %v, time %d: %d, want %d", from, i, got, want)
			}
		}
	}
}

// TestPathMTUFollowsDevice: a change is seen after a second of the caller's
// clock, and not before.
func TestPathMTUFollowsDevice(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, _ := lab.TestPair(t)
		p := pathMTUIn(t, a, ipv6, netip.Addr{})
		remote := lab.PairB4.Addr()
		if ipv6 {
			remote = lab.PairB6.Addr()
		}
		wants := []struct {
			now  time.Duration
			want int
		}{{0, 1500}, {answerAge - 1, 1500}, {answerAge, 1400}, {answerAge + 1, 1400}}
		for i, w := range wants {
			if got := p.Of(remote, 0, w.now); got != w.want {
				t.Errorf("at %v: %d, want %d", w.now, got, w.want)
			}
			if i == 0 {
				check(t, a.SetMTU("eth0", 1400))
			}
		}
	})
}

// TestPathMTUSendsNothing and takes nothing: asking is between this process and
// its kernel.
func TestPathMTUSendsNothing(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		needHosts(t)
		a, b := lab.TestPair(t)
		wire := lab.TestCapture(t, b, "eth0")
		p := pathMTUIn(t, a, ipv6, netip.Addr{})
		remote, from := lab.PairB4.Addr(), lab.PairA4.Addr()
		if ipv6 {
			remote, from = lab.PairB6.Addr(), lab.PairA6.Addr()
		}
		p.Of(remote, 0, 0)
		port := portOf(t, &Socket{fd: p.fd})
		check(t, b.SendUDP(netip.AddrPortFrom(remote, discardPort), netip.AddrPortFrom(from, port), []byte("hello"), lab.DatagramOptions{}))
		check(t, b.Ping(from, lab.PingOptions{}).Lost()) // behind the datagram
		if _, _, err := unix.Recvfrom(p.fd, make([]byte, 10), unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("a datagram to the socket that asks: %v", err)
		}
		for _, f := range wire.Stop() {
			if udp := dissect.Packet(f).TransportLayer(); udp != nil && !f.Outgoing {
				t.Errorf("seen on the wire: %v", dissect.Packet(f))
			}
		}
	})
}

// TestPathMTUDoesNotAllocate: neither for the remote of the last packet, nor
// for others that are known, nor when an answer is renewed.
func TestPathMTUDoesNotAllocate(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		p, err := OpenPathMTU(ipv6, netip.Addr{})
		check(t, err)
		defer p.Close()
		lo, err := net.InterfaceByName("lo")
		check(t, err)
		now := time.Duration(0)
		remotes := []netip.Addr{home(ipv6), other(ipv6)}
		for name, f := range map[string]func(){
			"same":    func() { p.Of(remotes[0], 0, now) },
			"others":  func() { p.Of(remotes[0], 0, now); p.Of(remotes[1], lo.Index, now) },
			"renewed": func() { now += 2 * answerAge; p.Of(remotes[0], lo.Index, now) },
		} {
			if n := testing.AllocsPerRun(50, f); n != 0 {
				t.Errorf("%s: %v allocations a call", name, n)
			}
		}
	})
}

// TestCache counts what is asked, and what is kept.
func TestCache(t *testing.T) {
	var asked []path
	c := newCache(func(to path) int { asked = append(asked, to); return 1000 + to.ifIndex })
	to := func(i int) path { return path{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), i} }
	want := func(i int, now time.Duration, times int) {
		t.Helper()
		asked = asked[:0]
		if got := *c.of(to(i), now); got != 1000+i || len(asked) != times || slices.Contains(asked, path{}) {
			t.Errorf("path %d at %v: %d, asked %v, want to ask %d times", i, now, got, asked, times)
		}
	}
	want(1, 0, 1)
	want(1, 0, 0)
	want(2, 5, 1)
	want(1, answerAge-1, 0)
	want(1, answerAge, 1)
	want(2, answerAge, 0)
	want(2, answerAge+5, 1)
	want(1, 2*answerAge-1, 0)
	for i := range 3 * answers {
		want(i+10, 3*answerAge, 1)
		if len(c.known) > answers {
			t.Fatalf("%d answers are kept", len(c.known))
		}
	}
	want(3*answers+9, 3*answerAge, 0)
}

func indexOf(t *testing.T, h *lab.Host, dev string) int {
	t.Helper()
	d, err := h.Device(dev)
	check(t, err)
	return d.Index
}

// ipv4Of is the IPv4 header of a captured frame.
func ipv4Of(f lab.Frame) (*layers.IPv4, bool) {
	ip, ok := dissect.Packet(f).NetworkLayer().(*layers.IPv4)
	return ip, ok
}
