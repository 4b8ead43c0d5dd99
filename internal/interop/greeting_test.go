package interop

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
	"github.com/weftnet/weft/internal/lab/proxy"
)

// stranger is a node with flannel's proxy in the place of weft.
type stranger struct {
	*vtep
	*proxy.Proxy
}

// newStranger gives a node a stranger instead of a link of weft's.
func newStranger(t *testing.T, h *lab.Host, u underlay, mtu int) *stranger {
	t.Helper()
	v := &vtep{Host: h, kind: kernel, link: "stranger0"}
	p, err := proxy.New(h, proxy.Config{Device: v.link, MTU: mtu, Local: u.b})
	check(t, err)
	t.Cleanup(p.Close)
	s := &stranger{v, p}
	s.addressNode(t, nodesB)
	for _, subnet := range nodesA {
		s.Route(subnet, u.a)
	}
	return s
}

// connectStranger joins a link of type udp to a stranger, by a wire on which the
// kernel hands over what is unfinished.
func connectStranger(t *testing.T, u underlay) (a *vtep, b *stranger) {
	t.Helper()
	ha, hb := lab.TestPair(t)
	a = addUDPLink(t, ha, u.a, nodesA)
	a.routeTo(nodesB, u.b)
	d, err := a.Device(a.link)
	check(t, err)
	b = newStranger(t, hb, u, d.MTU)
	offloadsOn.apply(t, a, b.vtep)
	return a, b
}

// TestGreetingStranger has a link of type udp exchange TCP with somebody who is no
// weft, until it has been greeted: all that comes is finished, and at most a greeting
// lies behind it. What it sends goes past the process all the same.
func TestGreetingStranger(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a, b := connectStranger(t, u)
			m := newMeter(t, a)
			check(t, lab.Eventually(2*waitLimit, func() error {
				for i := range nodesB {
					transfer(t, a, b.vtep, nodesB[i], 2*mib+1)
					transfer(t, b.vtep, a, nodesA[i], 2*mib+1)
				}
				if greeted := b.Seen().Greeted; greeted == 0 || receivedShort(a.figures(t)) == 0 {
					return fmt.Errorf("%d greetings came, %d packets went past the process", greeted, receivedShort(a.figures(t)))
				}
				return nil
			}))
			seen := b.Seen()
			if len(seen.Wrong) > 0 {
				t.Errorf("%d of %d datagrams, such as %s", len(seen.Wrong), seen.Datagrams, seen.Wrong[0])
			}
			if seen.Greeted > seen.Datagrams/16 {
				t.Errorf("%d of %d datagrams have a greeting", seen.Greeted, seen.Datagrams)
			}
			if n := sentShort(a.figures(t)); n > 0 {
				t.Errorf("%d packets were sent past the process", n)
			}
			m.checkDrops(t)
		})
	}
}

// TestGreetingQuiet has somebody send little, who is never greeted.
func TestGreetingQuiet(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	a, b := connectStranger(t, underlay4)
	for i := range nodesB {
		check(t, a.Ping(nodesB[i].Addr(), lab.PingOptions{Count: 2, Size: 100}).Lost())
		check(t, b.Ping(nodesA[i].Addr(), lab.PingOptions{Count: 2, Size: 100}).Lost())
	}
	if seen := b.Seen(); seen.Datagrams < 8 || seen.Greeted > 0 || len(seen.Wrong) > 0 {
		t.Errorf("of %d datagrams %d have a greeting, and are wrong %v", seen.Datagrams, seen.Greeted, seen.Wrong)
	}
}

// TestGreetingSteady has packets come and go at an even pace, almost all of them past
// the process: their sender is greeted again and again.
func TestGreetingSteady(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a := newRoutedAlone(t, "udp", u, nil)
			a.steadyOut(t, 100)
			a.steadyIn(t, 100)
			a.steadilyCarried(t)
			seen := len(a.wire.Frames())
			check(t, lab.Eventually(2*waitLimit, func() error {
				greeted := 0
				for _, f := range a.wire.Frames()[seen:] {
					if !f.Outgoing && strings.HasSuffix(string(f.Data), greeting) {
						greeted++
					}
				}
				if greeted < 3 {
					return fmt.Errorf("the peer was greeted %d times", greeted)
				}
				return nil
			}))
		})
	}
}

// TestGreetingAnswer: a greeting is answered with the next packet to the peer, by the
// port that the route names, and nowhere else, whatever address was forged.
func TestGreetingAnswer(t *testing.T) {
	t.Parallel()
	for i, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			const port = 9999
			a, v6 := newRoutedAlone(t, "udp", u, nil), i == 1
			routedDoes(fmt.Sprintf("route replace PREFIX via PEER port %d dev LINK", port), v6)(t, a)
			swallow(t, a.peer, port)
			greeted := inner{v6: v6, size: 1, srcPort: 1000, dstPort: 2000}.packet(t)
			for _, from := range []netip.Addr{a.b, a.elsewhere().Addr()} {
				check(t, a.peer.SendUDP(netip.AddrPortFrom(from, 40000), netip.AddrPortFrom(a.a, a.port), []byte(string(greeted)+greeting), lab.DatagramOptions{}))
				a.delivered(t, greeted)
			}
			for _, size := range []int{1000, 1001} { // the first one answers
				packet := inner{v6: v6, size: size, srcPort: 1000, dstPort: 2000}.packet(t)
				a.send(t, packet)
				_, err := a.wire.Wait(waitLimit, func(f lab.Frame) bool { return string(payloadTo(f, port)) == string(packet) })
				check(t, err)
			}
			answers := 0
			for _, f := range a.wire.Frames() {
				if string(payloadTo(f, port)) == greeting && !f.Outgoing {
					answers++
				} else if strings.HasSuffix(string(f.Data), greeting) && !f.Outgoing {
					t.Errorf("a greeting elsewhere: %v", dissect.Packet(f))
				}
			}
			if answers != 1 {
				t.Errorf("%d answers to the peer's port, want one", answers)
			}
		})
	}
}

// payloadTo is what a UDP datagram to a port has in it, nil of all else.
func payloadTo(f lab.Frame, port layers.UDPPort) []byte {
	if udp, ok := dissect.Packet(f).Layer(layers.LayerTypeUDP).(*layers.UDP); ok && udp.DstPort == port {
		return udp.Payload
	}
	return nil
}
