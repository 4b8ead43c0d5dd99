package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/control"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
	"github.com/weftnet/weft/routetable"
)

// proxied is a VTEP whose link has proxy, l2miss and l3miss.
type proxied struct {
	*alone
	misses *misses
	marks  int // given so far
}

// Neighbours' addresses end in what the table says of them. Nothing has an
// entry for those that end in absent and above.
const (
	permanent byte = iota + 1
	reachable
	noARP
	stale
	failed
	last       // known means that all before it are
	unresolved = 77
	absent     = 0x80
)

func ip4(host byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 20, 7, host}) }

func ip6(host byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x20, 3: 7, 15: host})
}

func neighbourMAC(host byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 7, 0, host} }

func newProxied(t *testing.T, k kind, adjust func(*spec)) *proxied {
	t.Helper()
	a := newAlone(t, k, underlay4, func(_ *lab.Host, s *spec) {
		s.Proxy, s.L2Miss, s.L3Miss = true, true, true
		if adjust != nil {
			adjust(s)
		}
	})
	// IPv6, but no address and so no frames of the system's own.
	check(t, a.Sysctl("net.ipv6.conf."+a.link+".addr_gen_mode", "1"))
	check(t, a.Sysctl("net.ipv6.conf."+a.link+".disable_ipv6", "0"))
	for _, family := range []string{"ipv4", "ipv6"} { // so that what is reachable stays so
		check(t, a.Sysctl("net."+family+".neigh."+a.link+".base_reachable_time_ms", "3600000"))
	}
	return &proxied{alone: a, misses: watchMisses(t, a.vtep)}
}

// addNeighbours fills the table, and waits until the link knows.
func (p *proxied) addNeighbours(t *testing.T) {
	t.Helper()
	for _, n := range []struct {
		host  byte
		state int
	}{
		{permanent, netlink.NUD_PERMANENT}, {reachable, netlink.NUD_REACHABLE}, {noARP, netlink.NUD_NOARP},
		{stale, netlink.NUD_STALE}, {last, netlink.NUD_PERMANENT},
	} {
		p.setNeighbour(t, ip6(n.host), n.host, n.state)
		p.setNeighbour(t, ip4(n.host), n.host, n.state)
	}
	p.answers(t, ip4(last))
}

// addStrangers makes entries that are not the device's own: another device's,
// and those of addresses that the system itself answers for.
func (p *proxied) addStrangers(t *testing.T) {
	t.Helper()
	for _, addr := range []netip.Addr{ip4(absent), ip6(absent)} {
		onDevice(t, p.Host, "eth0", func(l netlink.Link) error {
			return p.Netlink().NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: addr.AsSlice(), HardwareAddr: neighbourMAC(absent), State: netlink.NUD_PERMANENT})
		})
		onDevice(t, p.Host, p.link, func(l netlink.Link) error {
			return p.Netlink().NeighAdd(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: addr.AsSlice(), Flags: netlink.NTF_PROXY})
		})
	}
}

func (p *proxied) setNeighbour(t *testing.T, addr netip.Addr, host byte, state int) {
	t.Helper()
	link, err := p.Netlink().LinkByName(p.link)
	check(t, err)
	n := &netlink.Neigh{LinkIndex: link.Attrs().Index, IP: addr.AsSlice(), HardwareAddr: neighbourMAC(host), State: state}
	if err := p.Netlink().NeighSet(n); err != nil {
		t.Fatalf("neighbour %v in state %d: %v", addr, state, err)
	}
}

// mark is a new MAC for an asker.
func (p *proxied) mark() net.HardwareAddr {
	p.marks++
	return markMAC(p.marks)
}

var errSilent = errors.New("no answer")

// ask asks for an address and returns the answer. What was asked before has
// been dealt with by then: a frame that is no question follows on the wire.
func (p *proxied) ask(t *testing.T, addr netip.Addr) ([]byte, error) {
	t.Helper()
	from := p.mark()
	answers, _ := p.pass(t, question(t, from, addr), from)
	if len(answers) == 0 {
		return nil, fmt.Errorf("%v: %w", addr, errSilent)
	}
	return answers[0], nil
}

// answers waits until the link answers for an address.
func (p *proxied) answers(t *testing.T, addr netip.Addr) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error { _, err := p.ask(t, addr); return err }))
}

// silent waits until it does not.
func (p *proxied) silent(t *testing.T, addr netip.Addr) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		if _, err := p.ask(t, addr); err == nil {
			return fmt.Errorf("%v is answered for", addr)
		}
		return nil
	}))
}

// pass sends a frame into the link, and returns what comes back to a MAC and
// whether the frame came out on the wire. What is behind the frame on the wire says
// that it has been dealt with, and what comes in then, that an answer has too: that
// waits in a queue of its own.
func (p *proxied) pass(t *testing.T, frame []byte, to net.HardwareAddr) (answers [][]byte, forwarded bool) {
	t.Helper()
	p.marks++
	fence := ether(p.marks, typeLocal, []byte("fence"))
	p.send(t, frame, fence)
	p.sent(t, fence)
	p.fence(t)
	for _, f := range p.inside.Frames() {
		if !f.Outgoing && bytes.Equal(f.Data[:6], to) {
			answers = append(answers, f.Data)
		}
	}
	for _, e := range dissect.VXLANs(p.wire.Frames(), p.port) {
		forwarded = forwarded || bytes.Equal(e.Inner.Data(), frame)
	}
	return answers, forwarded
}

// missed returns the IP addresses that were told of until now.
func (p *proxied) missed(t *testing.T) []string {
	t.Helper()
	p.marks++
	fence := netip.AddrFrom4([4]byte{10, 99, byte(p.marks >> 8), byte(p.marks)})
	p.send(t, question(t, p.mark(), fence))
	return p.misses.until(t, fence.String())
}

// addOwn gives the link addresses, so that the system can look for neighbours
// by itself.
func (p *proxied) addOwn(t *testing.T) {
	t.Helper()
	check(t, p.AddAddr(p.link, netip.PrefixFrom(ip4(250), 24)))
	check(t, p.AddAddr(p.link, netip.PrefixFrom(ip6(250), 64)))
}

// addDoomed makes the entry that a case's name ends in, if it is one of those
// that the kernel may take for garbage at any time.
func (p *proxied) addDoomed(t *testing.T, name string) {
	t.Helper()
	switch {
	case strings.HasSuffix(name, "failed"):
		p.setNeighbour(t, ip4(failed), failed, netlink.NUD_FAILED)
		p.setNeighbour(t, ip6(failed), failed, netlink.NUD_FAILED)
	case strings.HasSuffix(name, "unresolved"):
		p.resolve(t, ip4(unresolved))
		p.resolve(t, ip6(unresolved))
	}
}

// resolve has the system look for a neighbour.
func (p *proxied) resolve(t *testing.T, addr netip.Addr) {
	t.Helper()
	check(t, p.Do(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 9)))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("who are you?"))
		return err
	}))
}

// addFDB makes an FDB entry whose remote is the peer.
func (p *proxied) addFDB(t *testing.T, mac net.HardwareAddr, router bool) {
	t.Helper()
	if p.kind == user {
		resp, err := control.Call(context.Background(), p.weft.sockets()[0], control.Request{
			Version: control.Version, Op: control.OpChange, Name: p.link,
			Changes: []dataplane.FDBChange{{Op: dataplane.FDBAdd, MAC: routetable.MAC(mac), Dst: p.b, Router: router}},
		})
		if check(t, err); !resp.OK {
			t.Fatal(resp.Error)
		}
		return
	}
	onDevice(t, p.Host, p.link, func(l netlink.Link) error {
		n := &netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF, IP: p.b.AsSlice(), HardwareAddr: mac,
		}
		if router {
			n.Flags |= netlink.NTF_ROUTER
		}
		return p.Netlink().NeighAppend(n)
	})
}
