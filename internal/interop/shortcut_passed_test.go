package interop

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestShortcutPassedOn has containers behind two hosts exchange TCP through the
// second of two links: what was received past the process is passed on to a
// bridge, which has no offloads for tunnelled packets, and arrives in super-frames
// all the same. Both ways, with the kernel's device at the other end, and on wires
// that carry super-frames and others.
func TestShortcutPassedOn(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, p := range []pairing{{user, user}, {kernel, user}} {
		for _, u := range underlays {
			for _, mode := range []wireMode{offloadsOn, wireLike} {
				t.Run(p.String()+"/"+u.name+"/"+mode.name, func(t *testing.T) {
					t.Parallel()
					a, b := connect(t, p, u, nil)
					mode.apply(t, a, b)
					passOn(t, a, b, u, func(now figures) bool { return receivedShort(now) > now.rxPackets/4 })
				})
			}
		}
	}
}

// Where there is no device to take the kernel's mark off them, the process makes
// new super-frames of those that it receives.
func TestShortcutUnscrubbed(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	ha, hb := lab.TestPair(t)
	check(t, hb.Rename("lo", "weft-rx0d")) // the device's name, taken by one that cannot be deleted
	a, b := connectHosts(t, ha, hb, pairing{user, user}, underlay4, nil)
	passOn(t, a, b, underlay4, func(now figures) bool { return receivedShort(now) > 0 && now.weft.Offload.DevGSO > 0 })
}

// passOn has containers exchange TCP both ways until the second one has received
// most of it in super-frames, and its host as it should.
func passOn(t *testing.T, a, b *vtep, u underlay, as func(figures) bool) {
	t.Helper()
	a, b = a.second(t, u, 1), b.second(t, underlay{a: u.b, b: u.a}, 2)
	ca, cb := a.container(t, 1, b), b.container(t, 2, a)
	b.listen(t, passedPort)
	before, inside := b.figures(t), lab.TestCapture(t, cb, "eth0")
	for i := range containerAddr(1) {
		to, from := containerAddr(2)[i], containerAddr(1)[i]
		var all tally
		check(t, lab.Eventually(2*waitLimit, func() error {
			seen := len(inside.Frames())
			transferBetween(t, ca, cb, netip.AddrPortFrom(to.Addr(), passedPort), 2*mib+1)
			transferBetween(t, cb, ca, anyPort(from), mib+1)
			for _, f := range inside.Frames()[seen:] {
				all.add(f, 1450)
			}
			if now := b.figures(t).since(before); all.super < 4*all.single || !as(now) {
				return fmt.Errorf("%d bytes in super-frames and %d not, %d of %d packets by shortcuts", all.super, all.single, receivedShort(now), now.rxPackets)
			}
			return nil
		}))
	}
	if now := b.figures(t).since(before); now.lost(figures{}) > 0 {
		t.Errorf("lost: %+v", now.weft)
	}
}

// second makes a link beside the first of host n.
func (v *vtep) second(t *testing.T, u underlay, n int) *vtep {
	t.Helper()
	return v.another(t, spec{
		VXLAN: lab.VXLAN{Name: "vxlan1", ID: 6, Port: 4789, Dev: "eth0", Local: u.a, Remote: u.b},
		Addrs: []netip.Prefix{netip.PrefixFrom(secondAddr(n)[0], 24), netip.PrefixFrom(secondAddr(n)[1], 64)},
	})
}

// secondAddr are the addresses of host n's second link.
func secondAddr(n int) [2]netip.Addr {
	return [2]netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.21.1.%d", n)), netip.MustParseAddr(fmt.Sprintf("fd21::%d", n))}
}

// containerAddr are the addresses of the container behind host n.
func containerAddr(n int) []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.244.%d.2/24", n)), netip.MustParsePrefix(fmt.Sprintf("fd44:%d::2/64", n))}
}

// container puts one behind the host, by a bridge, and has the far host reach it.
func (v *vtep) container(t *testing.T, n int, far *vtep) *lab.Host {
	t.Helper()
	c := lab.TestHost(t, "c-"+v.Name)
	check(t, lab.Connect(lab.Port{Host: v.Host, Dev: "port0"}, lab.Port{Host: c}))
	check(t, v.AddBridge("br0"))
	check(t, v.SetMaster("br0", "port0"))
	for name, value := range map[string]string{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"} {
		check(t, v.Sysctl(name, value))
	}
	for i, addr := range containerAddr(n) {
		gateway := netip.PrefixFrom(addr.Addr().Prev(), addr.Bits())
		check(t, v.AddAddr("br0", gateway))
		check(t, c.AddAddr("eth0", addr))
		check(t, c.SetMTU("eth0", 1450))
		check(t, c.AddRoute(netip.MustParsePrefix([]string{"0.0.0.0/0", "::/0"}[i]), "eth0", gateway.Addr()))
		check(t, far.AddRoute(addr.Masked(), far.link, secondAddr(n)[i]))
	}
	return c
}

// passedPort is one that a container listens on, and its host, on all addresses.
const passedPort = 7777

func (v *vtep) listen(t *testing.T, port uint16) {
	t.Helper()
	check(t, v.Do(func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	}))
}

func transferBetween(t *testing.T, from, to *lab.Host, dst netip.AddrPort, n int64) {
	t.Helper()
	if _, err := lab.Transfer(from, to, dst, n); err != nil {
		t.Fatal(err)
	}
}

// tally adds up what came into a container, by whether it was more than fits its
// device.
type tally struct{ single, super int }

func (s *tally) add(f lab.Frame, mtu int) {
	switch n := len(f.Data) - 14; {
	case f.Outgoing || n < mtu/2:
	case n > mtu:
		s.super += n
	default:
		s.single += n
	}
}
