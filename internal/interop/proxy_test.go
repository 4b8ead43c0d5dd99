package interop

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// TestProxyIsTheKernels asks both kinds the same questions. What they answer is
// the same byte for byte, they keep the same frames from the wire, and tell of
// the same addresses.
func TestProxyIsTheKernels(t *testing.T) {
	answers := map[kind]map[string][]byte{}
	for _, k := range kinds {
		answers[k] = map[string][]byte{}
		t.Run(string(k), func(t *testing.T) {
			p := newProxied(t, k, nil)
			p.addStrangers(t)
			p.addNeighbours(t)
			p.addOwn(t)
			p.missed(t)
			number := 0
			cases := proxyCases(t, markMAC(0), markMAC(0))
			for _, name := range slices.Sorted(maps.Keys(cases)) {
				number++
				p.addDoomed(t, name)
				// The same MACs for both kinds, and others in each case.
				from, sender := markMAC(0x4000+number), markMAC(0x5000+number)
				c := proxyCases(t, from, sender)[name]
				got, forwarded := p.pass(t, c.frame, sender)
				direct, _ := p.pass(t, ether(0x6000+number, typeLocal, nil), from)
				answers[k][name] = slices.Concat(append(got, direct...)...)
				if (len(got)+len(direct) > 0) != c.answered || len(got)+len(direct) > 1 || forwarded != c.forwarded {
					t.Errorf("%s: %d answers, forwarded: %v, want answered: %v, forwarded: %v", name, len(got)+len(direct), forwarded, c.answered, c.forwarded)
				}
				if missed := strings.Join(p.missed(t), " "); missed != c.missed {
					t.Errorf("%s: told of %q, want %q", name, missed, c.missed)
				}
			}
		})
	}
	for name, want := range answers[kernel] {
		if got := answers[user][name]; !bytes.Equal(got, want) {
			t.Errorf("%s: the kernel answers\n%s\nweft\n%s", name, hex.Dump(want), hex.Dump(got))
		}
	}
}

// TestProxyRouter: a neighbour whose FDB entry says router is told to be one.
// The entry's remote and state do not count.
func TestProxyRouter(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			p := newProxied(t, k, nil)
			p.addNeighbours(t)
			const flagsAt, router = 58, 0x80
			for host, want := range map[byte]byte{permanent: router, reachable: 0} {
				p.addFDB(t, neighbourMAC(host), want != 0)
				var answer []byte
				check(t, lab.Eventually(waitLimit, func() (err error) { answer, err = p.ask(t, ip6(host)); return err }))
				if got := answer[flagsAt] & router; got != want {
					t.Errorf("host %d: router flag %#x, want %#x", host, got, want)
				}
			}
		})
	}
}

// TestProxyFollowsTheTable changes entries: a question is answered as they are
// now, and not at all once they are gone.
func TestProxyFollowsTheTable(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			p := newProxied(t, k, nil)
			for _, addr := range []netip.Addr{ip4(permanent), ip6(permanent)} {
				p.silent(t, addr)
				p.setNeighbour(t, addr, permanent, netlink.NUD_PERMANENT)
				p.answers(t, addr)
				p.setNeighbour(t, addr, reachable, netlink.NUD_PERMANENT)
				check(t, lab.Eventually(waitLimit, func() error {
					answer, err := p.ask(t, addr)
					if err == nil && !bytes.Equal(answer[6:12], neighbourMAC(reachable)) {
						err = fmt.Errorf("answered by % x", answer[6:12])
					}
					return err
				}))
				p.setNeighbour(t, addr, reachable, netlink.NUD_STALE)
				p.silent(t, addr)
				p.setNeighbour(t, addr, reachable, netlink.NUD_PERMANENT)
				p.answers(t, addr)
				onDevice(t, p.Host, p.link, func(l netlink.Link) error {
					return p.Netlink().NeighDel(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: addr.AsSlice()})
				})
				p.silent(t, addr)
				p.missed(t)
				_, err := p.ask(t, addr)
				if missed := p.missed(t); err == nil || !slices.Contains(missed, addr.String()) {
					t.Errorf("%v: told of %v after it was deleted", addr, missed)
				}
			}
		})
	}
}

// TestProxyOfManyNeighbours makes more entries at once than any buffer holds.
func TestProxyOfManyNeighbours(t *testing.T) {
	p := newProxied(t, user, nil)
	const many = 20000
	addr := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{10, 21, byte(i >> 8), byte(i)})
	}
	for i := range many {
		p.setNeighbour(t, addr(i), byte(i), netlink.NUD_PERMANENT)
	}
	for _, i := range []int{many - 1, 0, many / 2} {
		p.answers(t, addr(i))
	}
}

// TestProxyWithoutARP: a device with `arp off` keeps ARP without a look at the
// table, and one that is too small for IPv6 does so with solicitations.
func TestProxyWithoutARP(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			p := newProxied(t, k, nil)
			onDevice(t, p.Host, p.link, p.Netlink().LinkSetARPOff)
			p.setNeighbour(t, ip4(permanent), permanent, netlink.NUD_PERMANENT)
			p.setNeighbour(t, ip6(permanent), permanent, netlink.NUD_PERMANENT)
			p.answers(t, ip6(permanent)) // and so the other entry is known too
			p.silent(t, ip4(permanent))
			p.send(t, question(t, p.mark(), ip4(absent)), question(t, p.mark(), ip6(absent)))
			if missed := p.misses.until(t, ip6(absent).String()); slices.Contains(missed, ip4(absent).String()) {
				t.Errorf("told of %v with arp off", missed)
			}
			onDevice(t, p.Host, p.link, p.Netlink().LinkSetARPOn)
			p.setNeighbour(t, ip4(permanent), permanent, netlink.NUD_PERMANENT) // going on has emptied the table
			p.answers(t, ip4(permanent))

			check(t, p.SetMTU(p.link, 1279))
			check(t, lab.Eventually(waitLimit, func() error {
				p.missed(t)
				if _, err := p.ask(t, ip6(permanent)); err == nil {
					return errors.New("answered without IPv6")
				}
				if missed := p.missed(t); len(missed) > 0 {
					return fmt.Errorf("told of %v without IPv6", missed)
				}
				return nil
			}))
		})
	}
}

// TestProxyFollowsTheDevice moves the device to another namespace: its table
// there counts.
func TestProxyFollowsTheDevice(t *testing.T) {
	p := newProxied(t, user, nil)
	p.addNeighbours(t)
	other := lab.TestHost(t, "other")
	check(t, p.Move(p.link, other))
	weft := p.weft
	p.vtep = &vtep{Host: other, kind: user, weft: weft, link: p.link}
	check(t, other.SetUp(p.link))
	p.inside = lab.TestCapture(t, other, p.link)
	p.silent(t, ip4(permanent))
	p.setNeighbour(t, ip4(reachable), reachable, netlink.NUD_PERMANENT)
	p.answers(t, ip4(reachable))
	p.missed(t)
	_, err := p.ask(t, ip4(permanent))
	if missed := p.missed(t); err == nil || !slices.Contains(missed, ip4(permanent).String()) {
		t.Errorf("answered: %v, told of %v, want %v, which is in the table of no namespace any more", err == nil, missed, ip4(permanent))
	}
	check(t, other.Delete(p.link))
	check(t, weft.ended())
}

// TestProxyFigures: the kernel counts neither questions nor answers, and weft
// counts those that it does not answer by their reason alone.
func TestProxyFigures(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			p := newProxied(t, k, nil)
			p.addNeighbours(t)
			var frames [][]byte
			for _, addr := range []netip.Addr{ip4(permanent), ip4(stale), ip4(absent), ip6(permanent), ip6(stale), ip6(absent)} {
				frames = append(frames, question(t, p.mark(), addr))
			}
			if k == user {
				before := p.weft.stats(p.link)
				p.send(t, frames...)
				after := p.weft.drops(before, "proxy", 4)
				if after.TxPackets != before.TxPackets || after.RxPackets != before.RxPackets {
					t.Errorf("packets: %d, %d, before %d, %d", after.TxPackets, after.RxPackets, before.TxPackets, before.RxPackets)
				}
				return
			}
			before, err := p.Stats(p.link)
			check(t, err)
			p.send(t, frames...)
			p.missed(t)
			after, err := p.Stats(p.link)
			check(t, err)
			if after != before {
				t.Errorf("figures: %+v, before %+v", after, before)
			}
		})
	}
}

// TestMissesOfMACs: without a default remote, the addresses of single stations
// that have no entry are told of (l2miss), and what a proxy keeps is not.
func TestMissesOfMACs(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			p := newProxied(t, k, func(s *spec) { s.Remote = netip.Addr{} })
			one, other := net.HardwareAddr{2, 0, 0, 8, 0, 1}, net.HardwareAddr{2, 0, 0, 8, 0, 2}
			to := func(mac net.HardwareAddr) []byte { return readdressed(ether(1, typeLocal, nil), mac, nil) }
			p.addFDB(t, neighbourMAC(1), false)
			group := net.HardwareAddr{1, 0, 0x5e, 0, 0, 1}
			arp := readdressed(question(t, p.mark(), ip4(absent)), net.HardwareAddr{2, 0, 0, 8, 0, 3}, nil)
			p.send(t, to(one), to(group), to(layers.EthernetBroadcast), to(neighbourMAC(1)), to(one), arp, to(other))
			// IP misses pass through the asking of the system: they may come later.
			got := slices.DeleteFunc(p.misses.until(t, other.String()), func(s string) bool { return s == ip4(absent).String() })
			if want := []string{one.String(), one.String()}; !slices.Equal(got, want) {
				t.Errorf("told of %v, want %v", got, want)
			}
		})
	}
}
