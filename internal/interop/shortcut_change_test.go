package interop

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What a program was told of a flow may not outlive a change of the link. The
// tests here count instead of measuring time: a stream of numbered frames goes
// on all the while, and no frame that has its number after a change has returned
// meets what was there before.

// elsewhere is one more VTEP's address at the peer.
func (u underlay) elsewhere() netip.Prefix {
	if u.a.Is4() {
		return netip.MustParsePrefix("10.211.55.13/24")
	}
	return netip.MustParsePrefix("fd00:211:55::13/64")
}

// numberedFrame is frame n of a flow. Its payload adds up to the same for all,
// and so does its checksum.
func numberedFrame(flow []byte, n uint32) []byte {
	f := slices.Clone(flow)
	b := f[len(f)-8:]
	binary.BigEndian.PutUint32(b, n)
	binary.BigEndian.PutUint32(b[4:], ^n)
	return f
}

// numberOf is the number of a frame of the flow, false of any other.
func numberOf(flow, frame []byte) (uint32, bool) {
	at := len(flow) - 8
	if len(frame) != len(flow) || string(frame[:12]) != string(flow[:12]) || string(frame[at-8:at]) != string(flow[at-8:at]) {
		return 0, false
	}
	return binary.BigEndian.Uint32(frame[at:]), true
}

// numberFlow is what numberedFrame makes frames from: of station 1, to inMAC. The
// checksum for zeros is right for all numbers, which add up to zero, or -0.
func numberFlow(t *testing.T, v6 bool) []byte {
	t.Helper()
	return inner{v6: v6, srcPort: 1000, dstPort: 2000, size: 8}.frame(t, 1)
}

// endless sends numbered frames from one device until it is stopped, or is
// refused.
type endless struct {
	flow []byte
	last atomic.Uint32 // number of the frame that is being sent
	stop chan struct{}
	done chan error
}

// streamBurst frames are sent at once. A burst takes so long that no queue
// fills.
const streamBurst = 16

func startEndless(t *testing.T, h *lab.Host, dev string, flow []byte, around func(frame []byte) []byte) *endless {
	t.Helper()
	s := &endless{flow: flow, stop: make(chan struct{}), done: make(chan error, 1)}
	t.Cleanup(func() { _ = s.end() })
	go func() { s.done <- s.run(h, dev, around) }()
	return s
}

func (s *endless) run(h *lab.Host, dev string, around func(frame []byte) []byte) error {
	for {
		select {
		case <-s.stop:
			return nil
		default:
		}
		burst, first := make([][]byte, streamBurst), s.last.Add(streamBurst)-streamBurst+1
		for i := range burst {
			if burst[i] = numberedFrame(s.flow, first+uint32(i)); around != nil {
				burst[i] = around(burst[i])
			}
		}
		if err := h.SendFrame(dev, burst...); err != nil {
			return err
		}
	}
}

// end stops it, and returns why it was not able to go on.
func (s *endless) end() error {
	select {
	case <-s.stop:
		return nil
	default:
		close(s.stop)
		return <-s.done
	}
}

// after waits until some more frames were sent, and returns the first number of
// which all is later than the call, and the last one that was sent.
func (s *endless) after(t *testing.T) (first uint32, more func() error) {
	t.Helper()
	first = s.last.Load() + 1
	return first, func() error {
		if n := s.last.Load(); n < first+10*streamBurst {
			return fmt.Errorf("%d frames were sent, from %d on", n, first)
		}
		return nil
	}
}

// carriedByKernel waits until the kernel carries the stream by itself: between
// two looks at the figures, no frame was left to the process.
func (a *alone) carriedByKernel(t *testing.T, carried func(figures) uint64) {
	t.Helper()
	before := a.figures(t)
	check(t, lab.Eventually(waitLimit, func() error {
		a.greet(t)
		now := a.figures(t)
		n, all := carried(now)-carried(before), now.txPackets+now.rxPackets-before.txPackets-before.rxPackets
		before = now
		if n < streamBurst || n < all {
			return fmt.Errorf("%d of %d frames went past the process", n, all)
		}
		return nil
	}))
}

func sentShort(f figures) uint64     { return f.weft.Offload.ShortcutTx }
func receivedShort(f figures) uint64 { return f.weft.Offload.ShortcutRx }

// way is what of the outer headers of a frame changes can be seen by.
func (a *alone) way(e *dissect.Encapsulated) string {
	dst, _ := netip.AddrFromSlice(e.Outer.NetworkLayer().NetworkFlow().Dst().Raw())
	tos, ttl := uint8(0), uint8(0)
	if e.IPv4 != nil {
		tos, ttl = e.IPv4.TOS, e.IPv4.TTL
	} else {
		tos, ttl = e.IPv6.TrafficClass, e.IPv6.HopLimit
	}
	switch a.routed {
	case "l3":
		return fmt.Sprintf("%v %v tos %#x ttl %d", dst, e.Inner.LinkLayer().LinkFlow().Dst(), tos, ttl)
	case "udp":
		return fmt.Sprintf("%v tos %#x ttl %d", dst, tos, ttl)
	}
	return fmt.Sprintf("%v vni %d tos %#x ttl %d", dst, e.VXLAN.VNI, tos, ttl)
}

// sendChange is something after which a stream that went to the peer goes
// another way.
type sendChange struct {
	name   string
	before func(t *testing.T, a *alone)
	change func(t *testing.T, a *alone)
	want   func(u underlay) []string // the ways of each later frame, sorted
}

func weftDoes(words string) func(*testing.T, *alone) {
	return func(_ *testing.T, a *alone) {
		a.weft.must(strings.Fields(strings.NewReplacer("STATION", inMAC.String(), "ELSEWHERE", a.elsewhere().Addr().String(), "PEER", a.b.String()).Replace(words))...)
	}
}

// speaks has the station that the stream is for send a frame from a VTEP.
func speaks(from func(a *alone) netip.Addr) func(*testing.T, *alone) {
	return func(t *testing.T, a *alone) {
		t.Helper()
		a.fences++
		frame := readdressed(ether(1, typeLocal, []byte{byte(a.fences)}), markMAC(1), inMAC)
		check(t, a.peer.SendUDP(netip.AddrPortFrom(from(a), 40000), netip.AddrPortFrom(a.a, a.port), vxlan(5, frame), lab.DatagramOptions{}))
		a.delivered(t, frame)
	}
}

func fromPeer(a *alone) netip.Addr      { return a.b }
func fromElsewhere(a *alone) netip.Addr { return a.elsewhere().Addr() }

// usual is a way with the words that a link has from the start.
func usual(addr netip.Addr) string { return fmt.Sprintf("%v vni 5 tos 0x0 ttl 64", addr) }

func toPeer(u underlay) []string      { return []string{usual(u.b)} }
func toElsewhere(u underlay) []string { return []string{usual(u.elsewhere().Addr())} }
func nowhere(underlay) []string       { return nil }

func instead(format string) func(u underlay) []string {
	return func(u underlay) []string { return []string{fmt.Sprintf(format, u.b)} }
}

var sendChanges = []sendChange{
	{"fdb replace", weftDoes("fdb add STATION dev vxlan0 dst PEER"), weftDoes("fdb replace STATION dev vxlan0 dst ELSEWHERE"), toElsewhere},
	{"fdb replace vni", weftDoes("fdb add STATION dev vxlan0 dst PEER"), weftDoes("fdb replace STATION dev vxlan0 dst PEER vni 9"), instead("%v vni 9 tos 0x0 ttl 64")},
	{"fdb del", weftDoes("fdb add STATION dev vxlan0 dst ELSEWHERE"), weftDoes("fdb del STATION dev vxlan0 dst ELSEWHERE"), toPeer},
	{"fdb del of all", nil, weftDoes("fdb del 00:00:00:00:00:00 dev vxlan0"), nowhere},
	{"fdb flush", weftDoes("fdb add STATION dev vxlan0 dst ELSEWHERE"), weftDoes("fdb flush dev vxlan0 dst ELSEWHERE"), toPeer},
	{"fdb append", nil, weftDoes("fdb append 00:00:00:00:00:00 dev vxlan0 dst ELSEWHERE"), func(u underlay) []string { return slices.Concat(toPeer(u), toElsewhere(u)) }},
	{"link set remote", nil, weftDoes("link set vxlan0 type vxlan remote ELSEWHERE"), toElsewhere},
	{"link set tos", nil, weftDoes("link set vxlan0 type vxlan tos 0x28"), instead("%v vni 5 tos 0x28 ttl 64")},
	{"link set ttl", nil, weftDoes("link set vxlan0 type vxlan ttl 9"), instead("%v vni 5 tos 0x0 ttl 9")},
	{"station moves", speaks(fromPeer), speaks(fromElsewhere), toElsewhere},
	{"station comes back", speaks(fromElsewhere), func(t *testing.T, a *alone) {
		speaks(fromPeer)(t, a)
		speaks(fromElsewhere)(t, a)
		speaks(fromPeer)(t, a)
	}, toPeer},
	{"link del", nil, weftDoes("link del vxlan0"), nil},
	{"ip link set down", nil, func(t *testing.T, a *alone) { check(t, a.SetDown(a.link)) }, nil},
	{"ip link del", nil, func(t *testing.T, a *alone) { check(t, a.Delete(a.link)) }, nil},
}

// TestShortcutChangeSent has a stream sent by the kernel, and changes what it
// depends on.
func TestShortcutChangeSent(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for i, c := range sendChanges {
			t.Run(u.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				a := newAlone(t, user, u, nil)
				check(t, a.peer.AddAddr("eth0", u.elsewhere()))
				check(t, a.peer.Ping(u.a, lab.PingOptions{}).Lost())
				if c.before != nil {
					c.before(t, a)
				}
				s := startEndless(t, a.Host, a.link, numberFlow(t, i%2 == 1), nil)
				a.carriedByKernel(t, sentShort)
				c.change(t, a)
				first, more := s.after(t)
				if c.want == nil {
					a.checkSilent(t, s, first)
					return
				}
				check(t, lab.Eventually(waitLimit, more))
				want := c.want(u)
				if len(want) == 1 {
					a.carriedByKernel(t, sentShort)
				}
				check(t, s.end())
				a.checkWays(t, s, first, want)
			})
		}
	}
}

// checkSilent wants no later frame on the wire, where the device refuses them.
// Those before were seen by then, in the order in which they were sent.
func (a *alone) checkSilent(t *testing.T, s *endless, first uint32) {
	t.Helper()
	if err := <-s.done; err == nil {
		t.Error("nobody refused a frame")
	}
	close(s.stop)
	check(t, a.Ping(a.b, lab.PingOptions{}).Lost())
	for n := range a.numbersSent(s, first) {
		t.Fatalf("frame %d is on the wire, %d is the first that was sent after it", n, first)
	}
}

// checkWays wants each frame from the first one on to have gone these ways.
func (a *alone) checkWays(t *testing.T, s *endless, first uint32, want []string) {
	t.Helper()
	last := s.last.Load()
	if len(want) == 0 {
		check(t, a.Ping(a.b, lab.PingOptions{}).Lost())
	}
	var seen map[uint32][]string
	check(t, lab.Eventually(waitLimit, func() error {
		if seen = a.numbersSent(s, first); len(seen[last]) < len(want) {
			return fmt.Errorf("the last frame went %q", seen[last])
		}
		return nil
	}))
	wrong := 0
	for n := first; n <= last; n++ {
		if slices.Sort(seen[n]); !slices.Equal(seen[n], want) {
			if wrong++; wrong == 1 {
				t.Errorf("frame %d of %d to %d went %q, want %q", n, first, last, seen[n], want)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d frames went so", wrong)
	}
}

// numbersSent are the frames of the stream that are on the wire, from the first
// one on, and which ways each went.
func (a *alone) numbersSent(s *endless, first uint32) map[uint32][]string {
	seen := map[uint32][]string{}
	for _, e := range a.datagrams(a.wire.Frames()) {
		if n, ok := numberOf(s.flow, a.sentIn(e)); ok && n >= first && !e.Frame.Outgoing {
			seen[n] = append(seen[n], a.way(e))
		}
	}
	return seen
}

// receiveChange is something after which frames of a station that is busy count
// as dropped, or do not.
type receiveChange struct {
	name   string
	change func(t *testing.T, a *alone)
	reason string // of the drops; "" if the frames still come out
	gone   bool   // the link is
}

var receiveChanges = []receiveChange{
	{"allow-sources", weftDoes("link set vxlan0 type vxlan allow-sources 192.0.2.0/24"), "source_not_allowed", false},
	{"remote", weftDoes("link set vxlan0 type vxlan remote ELSEWHERE"), "", false},
	{"fdb replace", weftDoes("fdb replace 02:00:00:01:00:01 dev vxlan0 dst ELSEWHERE"), "pinned_source", false},
	{"address", func(t *testing.T, a *alone) {
		onDevice(t, a.Host, a.link, func(l netlink.Link) error { return a.Netlink().LinkSetHardwareAddr(l, markMAC(1)) })
		check(t, lab.Eventually(waitLimit, func() error {
			if got := a.weft.links()[0].Address; got != markMAC(1).String() {
				return fmt.Errorf("weft shows %s", got)
			}
			return nil
		}))
	}, "own_source", false},
	{"link del", weftDoes("link del vxlan0"), "", true},
	{"ip link del", func(t *testing.T, a *alone) { check(t, a.Delete(a.link)) }, "", true},
}

// TestShortcutChangeReceived does so with a stream that the kernel receives.
func TestShortcutChangeReceived(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for i, c := range receiveChanges {
			t.Run(u.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				a := newAlone(t, user, u, eachAlone)
				around := a.outerOf(t, vxlan(5, numberFlow(t, i%2 == 1)))
				s := startEndless(t, a.peer, "eth0", numberFlow(t, i%2 == 1), around.with)
				a.carriedByKernel(t, receivedShort)
				c.change(t, a)
				first, more := s.after(t)
				check(t, lab.Eventually(waitLimit, more))
				if c.reason == "" && !c.gone {
					a.carriedByKernel(t, receivedShort)
				}
				check(t, s.end())
				a.checkReceived(t, s, first, c)
			})
		}
	}
}

// with is the datagram around another frame of the same size and sum.
func (p *outerPacket) with(frame []byte) []byte {
	f := slices.Clone(p.frame)
	copy(f[len(f)-len(frame):], frame)
	return f
}

// checkReceived wants all later frames to have come out, or none of them.
func (a *alone) checkReceived(t *testing.T, s *endless, first uint32, c receiveChange) {
	t.Helper()
	last := s.last.Load()
	want := 0
	switch {
	case c.gone:
		check(t, a.Ping(a.b, lab.PingOptions{}).Lost())
	case c.reason == "":
		want = int(last - first + 1)
		a.delivered(t, numberedFrame(s.flow, last))
	default:
		check(t, lab.Eventually(waitLimit, func() error {
			if n := a.figures(t).weft.Drops[c.reason]; n < uint64(last-first+1) {
				return fmt.Errorf("%d frames count as %s, want %d", n, c.reason, last-first+1)
			}
			return nil
		}))
	}
	seen := map[uint32]bool{}
	for _, f := range a.inside.Frames() {
		if n, ok := numberOf(s.flow, f.Data); ok && !f.Outgoing && n >= first {
			seen[n] = true
		}
	}
	if len(seen) != want {
		t.Errorf("%d of the frames from %d to %d came out, want %d", len(seen), first, last, want)
	}
}

// TestShortcutStationFollowed has a station speak from two VTEPs in turn, so
// busily that frames from either are the kernel's: the FDB has it where the last
// frame came from, and not a lease later.
func TestShortcutStationFollowed(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a := newAlone(t, user, u, eachAlone)
			check(t, a.peer.AddAddr("eth0", u.elsewhere()))
			check(t, a.peer.Ping(u.a, lab.PingOptions{}).Lost())
			there := *a
			there.b = u.elsewhere().Addr()
			last := uint32(0)
			// Nothing is learnt before weft has been told that the device is up.
			check(t, lab.Eventually(waitLimit, func() error { there.speakOn(t, &last, 1); return there.stationAt(there.b) }))
			for range 3 {
				for _, from := range []*alone{a, &there} {
					from.speakOn(t, &last, 1)
					check(t, a.stationAt(from.b))
					check(t, lab.Eventually(waitLimit, func() error {
						before := a.figures(t)
						from.speakOn(t, &last, streamBurst)
						if n := receivedShort(a.figures(t)) - receivedShort(before); n < streamBurst {
							return fmt.Errorf("%d frames went past the process", n)
						}
						return nil
					}))
				}
			}
		})
	}
}

// eachAlone leaves out UDP super-frames: each frame is seen to come out by itself.
func eachAlone(_ *lab.Host, s *spec) { s.Env = append(s.Env, "WEFT_OFFLOAD_OFF=dev_uso") }

// speakOn sends the next frames of the stream, and waits for them to come out.
func (a *alone) speakOn(t *testing.T, last *uint32, frames int) {
	t.Helper()
	flow := numberFlow(t, false)
	around, burst := a.outerOf(t, vxlan(5, flow)), make([][]byte, frames)
	for i := range burst {
		*last++
		burst[i] = around.with(numberedFrame(flow, *last))
	}
	check(t, a.peer.SendFrame("eth0", burst...))
	a.delivered(t, numberedFrame(flow, *last))
}

// stationAt returns an error unless the station is behind that VTEP.
func (a *alone) stationAt(at netip.Addr) error {
	table := a.weft.must("fdb", "show", "dev", a.link)
	if !strings.Contains(table, markMAC(1).String()+" dst "+at.String()+" ") {
		return fmt.Errorf("want %v at %v: %s", markMAC(1), at, table)
	}
	return nil
}
