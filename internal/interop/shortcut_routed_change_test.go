package interop

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// routedChange is something after which a stream of packets goes another way. What
// is not for both kinds of link says so.
type routedChange struct {
	name   string
	kind   string
	change string
	want   func(a *alone) []string
	after  string // what weft does for the next change
}

// routedWay is a way that a packet with nothing said about it takes, but to where.
func routedWay(to netip.Addr, mac net.HardwareAddr) func(a *alone) string {
	return func(a *alone) string {
		if a.routed == "l3" {
			return fmt.Sprintf("%v %v tos 0x0 ttl 64", to, mac)
		}
		return fmt.Sprintf("%v tos 0x0 ttl 64", to)
	}
}

func routedToPeer(a *alone) []string { return []string{routedWay(a.b, macOfB)(a)} }

func routedElsewhere(a *alone) []string {
	return []string{routedWay(a.elsewhere().Addr(), macOfB)(a)}
}

func routedNowhere(*alone) []string { return nil }

var routedChanges = []routedChange{
	{name: "longer route add", change: "route add LONGER via ELSEWHERE dev LINK MAC", want: routedElsewhere},
	{name: "longer route del", change: "route del LONGER dev LINK", want: routedToPeer},
	{name: "route replace", change: "route replace PREFIX via ELSEWHERE dev LINK MAC", want: routedElsewhere},
	{name: "route replace lladdr", kind: "l3", change: "route replace PREFIX via PEER dev LINK lladdr 02:09:00:00:00:03", want: func(a *alone) []string {
		return []string{routedWay(a.b, net.HardwareAddr{2, 9, 0, 0, 0, 3})(a)}
	}},
	{name: "route del", change: "route del PREFIX dev LINK", want: routedNowhere, after: "route add PREFIX via PEER dev LINK MAC"},
	{name: "link set tos", kind: "l3", change: "link set LINK type vxlan tos 0x28", want: func(a *alone) []string {
		return []string{fmt.Sprintf("%v %v tos 0x28 ttl 64", a.b, macOfB)}
	}},
	{name: "link set ttl", kind: "l3", change: "link set LINK type vxlan ttl 9", want: func(a *alone) []string {
		return []string{fmt.Sprintf("%v %v tos 0x28 ttl 9", a.b, macOfB)}
	}},
}

// routedEnds are ways in which a link comes to its end, after which its device
// refuses all packets.
var routedEnds = []struct {
	name string
	end  func(t *testing.T, a *alone)
}{
	{"link del", func(t *testing.T, a *alone) { routedDoes("link del LINK", false)(t, a) }},
	{"ip link set down", func(t *testing.T, a *alone) { check(t, a.SetDown(a.link)) }},
	{"ip link del", func(t *testing.T, a *alone) { check(t, a.Delete(a.link)) }},
}

// TestShortcutRoutedChangeSent has streams of packets sent by the kernel, and
// changes what they depend on, one thing after the other.
func TestShortcutRoutedChangeSent(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for n, kind := range routedKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a, v6 := newRoutedAlone(t, kind, underlays[n], nil), n == 0
			for _, c := range routedChanges {
				if c.kind == "" || c.kind == kind {
					t.Run(c.name, func(t *testing.T) { c.check(t, a, v6) })
				}
			}
			end := routedEnds[n]
			t.Run(end.name, func(t *testing.T) {
				s := a.startSent(t, v6)
				end.end(t, a)
				first, _ := s.after(t)
				a.checkSilent(t, s, first)
			})
		})
	}
}

// startSent sends a stream until the kernel does, with nothing captured before it.
func (a *alone) startSent(t *testing.T, v6 bool) *endless {
	t.Helper()
	a.wire.Stop()
	a.wire = lab.TestCapture(t, a.peer, "eth0")
	s := startEndless(t, a.Host, a.link, numberFlow(t, v6)[14:], nil)
	a.carriedByKernel(t, sentShort)
	return s
}

func (c *routedChange) check(t *testing.T, a *alone, v6 bool) {
	t.Helper()
	s := a.startSent(t, v6)
	routedDoes(c.change, v6)(t, a)
	first, more := s.after(t)
	check(t, lab.Eventually(waitLimit, more))
	want := c.want(a)
	if len(want) == 1 {
		a.carriedByKernel(t, sentShort)
	}
	check(t, s.end())
	a.checkWays(t, s, first, want)
	if c.after != "" {
		routedDoes(c.after, v6)(t, a)
	}
}

// routedReceiveChanges are things that weft does, and what comes of a stream.
var routedReceiveChanges = []struct{ name, change, reason string }{
	{"route del", "route del PREFIX dev LINK", ""},
	{"allow-sources with it", "link set LINK type TYPE allow-sources PEER", ""},
	{"allow-sources without it", "link set LINK type TYPE allow-sources 192.0.2.0/24", "source_not_allowed"},
}

// TestShortcutRoutedChangeReceived does so with streams that the kernel receives.
func TestShortcutRoutedChangeReceived(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for n, kind := range routedKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a, v6 := newRoutedAlone(t, kind, underlays[1-n], nil), n == 1
			for _, c := range routedReceiveChanges {
				t.Run(c.name, func(t *testing.T) {
					a.checkReceivedOver(t, v6, routedDoes(c.change, v6), receiveChange{reason: c.reason})
				})
			}
			routedDoes("link set LINK type TYPE allow-sources none", v6)(t, a)
			end := routedEnds[2*n]
			t.Run(end.name, func(t *testing.T) { a.checkReceivedOver(t, v6, end.end, receiveChange{gone: true}) })
		})
	}
}

// checkReceivedOver has the peer send a stream until the kernel receives it, and
// looks at what comes of it after a change.
func (a *alone) checkReceivedOver(t *testing.T, v6 bool, change func(*testing.T, *alone), c receiveChange) {
	t.Helper()
	a.inside.Stop()
	a.inside = lab.TestCapture(t, a.Host, a.link)
	flow := numberFlow(t, v6)[14:]
	around := a.outerOf(t, a.around(flow))
	s := startEndless(t, a.peer, "eth0", flow, around.with)
	a.carriedByKernel(t, receivedShort)
	change(t, a)
	first, more := s.after(t)
	check(t, lab.Eventually(waitLimit, more))
	if c.reason == "" && !c.gone {
		a.carriedByKernel(t, receivedShort)
	}
	check(t, s.end())
	a.checkReceived(t, s, first, c)
}

// TestShortcutOtherHost has frames for other MACs than the link's come between
// those that the kernel receives, from the same station and of the same flow: none
// comes out, and all are counted.
func TestShortcutOtherHost(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for i, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a, v6 := newRoutedAlone(t, "l3", u, nil), i == 1
			flow := numberFlow(t, v6)[14:]
			good := a.outerOf(t, a.around(flow))
			var burst, others [][]byte
			for i, mac := range []net.HardwareAddr{{2, 9, 0, 0, 0, 7}, {3, 9, 0, 0, 0, 1}, {2, 9, 0, 0, 0, 0}, {2, 9, 0, 0, 1, 1}, {255, 255, 255, 255, 255, 255}, {0x33, 0x33, 0, 0, 0, 1}} {
				packet := numberedFrame(flow, uint32(1000+i))
				others = append(others, packet)
				frame := readdressed(a.around(packet)[8:], mac, nil)
				burst = append(burst, good.frame, good.frame, a.outerOf(t, vxlan(1, frame)).frame)
			}
			last := numberedFrame(flow, 5000)
			burst = append(burst, good.with(last))
			check(t, lab.Eventually(waitLimit, func() error {
				check(t, a.peer.SendFrame("eth0", slices.Repeat([][]byte{good.frame}, streamBurst)...))
				before := a.figures(t)
				check(t, a.peer.SendFrame("eth0", burst...))
				a.weft.drops(before.weft, "other_host", uint64(len(others)))
				if n := receivedShort(a.figures(t)) - receivedShort(before); n < 2 {
					return fmt.Errorf("%d of them went past the process", n)
				}
				return nil
			}))
			a.delivered(t, last)
			for _, f := range a.inside.Frames() {
				if slices.ContainsFunc(others, func(p []byte) bool { return string(p) == string(f.Data) }) {
					t.Fatalf("% x came out, which is for another host", f.Data)
				}
			}
		})
	}
}
