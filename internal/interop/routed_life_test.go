package interop

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// TestUDPLinkMalformed sends datagrams that are no IP packet, and others that
// are: each one counts once.
func TestUDPLinkMalformed(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"on", "off"} {
		t.Run("offload-"+word, func(t *testing.T) {
			a, b := connectUDP(t, underlay4, "offload", word)
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			good := inner{size: 100}.packet(t)
			send := func(payload []byte, o lab.DatagramOptions) {
				t.Helper()
				check(t, b.SendUDP(netip.AddrPortFrom(underlay4.b, 40000), netip.AddrPortFrom(underlay4.a, flannelPort), payload, o))
			}
			edit := func(at int, with byte) []byte {
				p := slices.Clone(good)
				p[at] = with
				return p
			}
			for reason, payloads := range map[string][][]byte{
				"bad_length": {{}, {0x45}, good[:19], good[:len(good)-1], edit(0, 0x44), {0x60, 0, 0}, edit(3, 19)},
				"not_ip":     {{0}, edit(0, 0x55), vxlan(5, good)},
			} {
				before := a.weft.stats(a.link)
				for _, p := range payloads {
					send(p, lab.DatagramOptions{})
				}
				a.weft.drops(before, reason, uint64(len(payloads)))
			}
			before := a.weft.stats(a.link)
			send(good, lab.DatagramOptions{TOS: 3}) // congestion outside, inside not ECN-capable
			a.weft.drops(before, "ecn", 1)
			a.weft.must("link", "set", a.link, "allow-sources", "192.0.2.0/24")
			before = a.weft.stats(a.link)
			send(good, lab.DatagramOptions{})
			a.weft.drops(before, "source_not_allowed", 1)
			a.weft.must("link", "set", a.link, "allow-sources", "none")
			before = a.weft.stats(a.link)
			send(append(slices.Clone(good), 1, 2, 3), lab.DatagramOptions{}) // padding is cut off
			check(t, lab.Eventually(waitLimit, func() error {
				now := a.weft.stats(a.link)
				if now.RxPackets-before.RxPackets != 1 || now.RxBytes-before.RxBytes != uint64(len(good)) {
					return fmt.Errorf("%d packets of %d bytes received", now.RxPackets-before.RxPackets, now.RxBytes-before.RxBytes)
				}
				return nil
			}))
		})
	}
}

// TestUDPLinkJunk floods a link with random bytes: each datagram is delivered or
// dropped, and the link works as before.
func TestUDPLinkJunk(t *testing.T) {
	t.Parallel()
	a, b := connectUDP(t, underlay4)
	check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
	r := rand.New(rand.NewPCG(1, 2))
	before, sent := a.weft.stats(a.link), 3000
	for range sent {
		junk := make([]byte, r.IntN(300))
		for i := range junk {
			junk[i] = byte(r.Uint32())
		}
		if len(junk) > 40 && r.IntN(2) == 0 {
			junk[0], junk[2], junk[3] = 0x45, 0, byte(r.IntN(len(junk)))
		}
		check(t, b.SendUDP(netip.AddrPortFrom(underlay4.b, 40000), netip.AddrPortFrom(underlay4.a, flannelPort), junk, lab.DatagramOptions{TOS: uint8(r.IntN(4))}))
	}
	check(t, lab.Eventually(waitLimit, func() error {
		now := difference(a.weft.stats(a.link), before)
		total := now.RxPackets
		for _, n := range now.Drops {
			total += n
		}
		if total != uint64(sent) || now.Drops["bad_length"] == 0 || now.Drops["not_ip"] == 0 {
			return fmt.Errorf("%d of %d are accounted for: %+v", total, sent, now)
		}
		return nil
	}))
	check(t, a.Ping(b.addr, lab.PingOptions{Count: 3}).Lost())
	transfer(t, a, b, nodesB[0], smallTransfer(t))
}

// TestRoutedMove moves the devices of routed links away: they keep running, are
// found where they are, and answer there what has no route.
func TestRoutedMove(t *testing.T) {
	t.Parallel()
	for name, connectWith := range map[string]func(*testing.T) (a, b *vtep){
		"udp": func(t *testing.T) (a, b *vtep) { return connectUDP(t, underlay4) },
		"l3":  func(t *testing.T) (a, b *vtep) { return connectL3(t, underlay4, kernel) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := connectWith(t)
			pod := lab.TestHost(t, "pod")
			check(t, a.Move(a.link, pod))
			there := &vtep{Host: pod, kind: user, weft: a.weft.in(pod), link: a.link}
			there.addressNode(t, nodesA)
			check(t, pod.Ping(b.addr, lab.PingOptions{Count: 3}).Lost())
			check(t, b.Ping(nodesA[0].Addr(), lab.PingOptions{Count: 3}).Lost())
			check(t, lab.Eventually(waitLimit, func() error {
				if got := there.weft.names(); !slices.Equal(got, []string{a.link}) {
					return fmt.Errorf("links where the device is: %v", got)
				}
				return nil
			}))
			if text := there.weft.must("route", "show", "dev", a.link); !strings.HasPrefix(text, "10.9.2.0/24 via 10.211.55.12 ") {
				t.Errorf("routes where the device is: %q", text)
			}
			checkRefused(t, there, noNode4)
			there.weft.must("link", "del", a.link)
		})
	}
}

// TestRoutedPathMTU: a router on the underlay's way that carries less has the
// sender inside told what fits.
func TestRoutedPathMTU(t *testing.T) {
	t.Parallel()
	a, r, b := lab.TestHost(t, "a"), lab.TestHost(t, "router"), lab.TestHost(t, "b")
	near, far := netip.MustParsePrefix("10.91.1.1/24"), netip.MustParsePrefix("10.91.2.1/24")
	gateways := [2]netip.Prefix{netip.MustParsePrefix("10.91.1.2/24"), netip.MustParsePrefix("10.91.2.2/24")}
	check(t, lab.Connect(lab.Port{Host: a, Addrs: []prefix{near}}, lab.Port{Host: r, Dev: "port0", Addrs: gateways[:1]}))
	check(t, lab.Connect(lab.Port{Host: b, Addrs: []prefix{far}, MTU: 1400}, lab.Port{Host: r, Dev: "port1", Addrs: gateways[1:], MTU: 1400}))
	check(t, r.Sysctl("net.ipv4.ip_forward", "1"))
	check(t, a.AddRoute(far.Masked(), "eth0", gateways[0].Addr()))
	check(t, b.AddRoute(near.Masked(), "eth0", gateways[1].Addr()))
	va, vb := addUDPLink(t, a, near.Addr(), nodesA), addUDPLink(t, b, far.Addr(), nodesB)
	va.routeTo(nodesB, far.Addr())
	vb.routeTo(nodesA, near.Addr())
	check(t, va.Ping(vb.addr, lab.PingOptions{Size: 1344, DF: true}).Lost())
	check(t, lab.Eventually(waitLimit, func() error {
		va.Ping(vb.addr, lab.PingOptions{Size: 1400, DF: true, Timeout: 50 * time.Millisecond})
		routes, err := va.Netlink().RouteGet(vb.addr.AsSlice())
		if err == nil && (len(routes) != 1 || routes[0].MTU != 1372) {
			err = fmt.Errorf("%v: want an MTU of 1372", routes)
		}
		return err
	}))
	if n := va.weft.stats(va.link).Drops["too_big"]; n == 0 {
		t.Error("nothing was dropped for being too big")
	}
	check(t, va.Ping(vb.addr, lab.PingOptions{Size: 1400}).Lost()) // without DF
	for i := range nodesB {
		transfer(t, va, vb, nodesB[i], smallTransfer(t))
		transfer(t, vb, va, nodesA[i], smallTransfer(t))
	}
}
