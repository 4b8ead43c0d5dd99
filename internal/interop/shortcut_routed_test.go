package interop

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestShortcutRoutedTransfer has TCP go both ways past links that carry IP packets,
// over wires that carry super-frames whole and over others, and looks at each
// datagram where it enters the wire, and at each packet where it comes out.
func TestShortcutRoutedTransfer(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for i, u := range underlays {
		for k, mode := range []wireMode{offloadsOn, offloadsOff, wireLike} {
			// With l3, each wire has the kernel's device at one end over one
			// underlay, and weft over the other.
			far := kinds[(i+k)%2]
			for _, of := range routedKinds {
				t.Run(of+"/"+u.name+"/"+mode.name, func(t *testing.T) {
					t.Parallel()
					a, b := connectRouted(t, of, u, far)
					mode.apply(t, a, b)
					reach(t, a.Host, b.addr)
					transferPast(t, of, a, b, u, mode)
				})
			}
		}
	}
}

// transferPast has both ends exchange TCP until the kernel carries most of it.
func transferPast(t *testing.T, of string, a, b *vtep, u underlay, mode wireMode) {
	t.Helper()
	d, err := a.Device(a.link)
	check(t, err)
	wire, inside := lab.TestCapture(t, a.Host, "eth0"), lab.TestCapture(t, b.Host, b.link)
	m, seen, looked := newMeter(t, a, b), outerSums{u: u, mode: mode, mtu: d.MTU}, 0
	check(t, lab.Eventually(2*waitLimit, func() error {
		round := newMeter(t, a, b)
		for i := range nodesB {
			transfer(t, a, b, nodesB[i], 16*mib+1)
			transfer(t, b, a, nodesA[i], 16*mib+1)
		}
		frames := wire.Frames()
		for _, e := range routedDatagrams(of, frames[looked:]) {
			if checkRoutedTTL(t, e); e.Frame.Outgoing {
				seen.look(t, e)
			}
		}
		looked = len(frames)
		return round.pastProcess(2)
	}))
	for _, f := range inside.Stop() {
		if len(f.Data) > 0 && !f.Outgoing && ttlOf(dissect.Packet(f).NetworkLayer()) != 64 {
			t.Fatalf("came out with another TTL: % x", f.Data[:40])
		}
	}
	wire.Stop()
	for _, s := range m.moved() {
		for reason, n := range s.Drops {
			if n > 0 && reason != "other_host" { // the kernel's device sends to groups
				t.Errorf("%d dropped for %s", n, reason)
			}
		}
	}
	if seen.sumKinds == (sumKinds{}) {
		t.Error("nothing was looked at")
	}
}

// pastProcess returns an error unless one packet in so many was carried past each
// end's process, both ways. What the process sends counts segment by segment.
func (m *meter) pastProcess(in uint64) error {
	for i, now := range m.moved() {
		before := m.before[i].Offload
		tx, rx := now.Offload.ShortcutTx-before.ShortcutTx, now.Offload.ShortcutRx-before.ShortcutRx
		if tx < now.TxPackets/in || rx < now.RxPackets/in {
			return fmt.Errorf("%s: past the process went %d of %d sent, %d of %d received", m.ends[i].Name, tx, now.TxPackets, rx, now.RxPackets)
		}
	}
	return nil
}

func routedDatagrams(of string, frames []lab.Frame) []*dissect.Encapsulated {
	if of == "udp" {
		return bares(frames)
	}
	return dissect.VXLANs(frames, 8472)
}

// checkRoutedTTL wants packets to be on the wire as their hosts sent them.
func checkRoutedTTL(t *testing.T, e *dissect.Encapsulated) {
	t.Helper()
	if e.Inner.Layer(layers.LayerTypeTCP) != nil && ttlOf(e.Inner.NetworkLayer()) != 64 {
		t.Fatalf("on the wire with another TTL: %v", e.Inner)
	}
}

func ttlOf(ip any) uint8 {
	switch ip := ip.(type) {
	case *layers.IPv4:
		return ip.TTL
	case *layers.IPv6:
		return ip.HopLimit
	}
	return 0
}

// routedSpecs are words that say what is around a packet. A link of type udp has
// none.
var routedSpecs = []struct {
	kind, words string
	underlay
	set func(s *spec)
}{
	{"udp", "no words", underlay4, nil},
	{"udp", "no words", underlay6, nil},
	{"l3", "no words", underlay4, nil},
	{"l3", "no words", underlay6, nil},
	{"l3", "ttl 100 tos 0x14 df set", underlay4, func(s *spec) { s.TTL, s.TOS, s.DF = 100, 0x14, lab.DFSet }},
	{"l3", "ttl inherit tos inherit df inherit", underlay6, func(s *spec) { s.TTLInherit, s.TOS, s.DF = true, 1, lab.DFInherit }},
	{"l3", noSumWords, underlay6, func(s *spec) { s.NoUDPCSum, s.UDP6ZeroCSumTx = true, true }},
}

const noSumWords = "noudpcsum udp6zerocsumtx"

// TestShortcutRoutedOuter has packets sent by weft first and then past it: what is
// around them stays as it was, with right checksums outside and inside.
func TestShortcutRoutedOuter(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, c := range routedSpecs {
		t.Run(c.kind+"/"+c.words+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			a := newRoutedAlone(t, c.kind, c.underlay, c.set)
			for mark, p := range []inner{{}, {v6: true}, {df: true, tcp: true}, {v6: true, tcp: true}} {
				p.srcPort, p.dstPort, p.ttl, p.tos = uint16(1000+mark), 2000, 77, 0xa8
				a.checkRoutedFlow(t, p, c.words == noSumWords)
			}
		})
	}
}

// checkRoutedFlow sends packets of one flow, of all lengths and ECN bits, until a
// whole round of them has gone past the process.
func (a *alone) checkRoutedFlow(t *testing.T, p inner, noSum bool) {
	t.Helper()
	var round [][]byte
	for i := range 40 {
		q := p
		q.tos, q.size = p.tos|uint8(i%4), []int{0, 1, 2, 3, 100, 999, 1300, 1301}[i%8]+i/8
		round = append(round, q.packet(t))
	}
	a.wire.Stop()
	a.wire = lab.TestCapture(t, a.peer, "eth0")
	rounds := 0
	check(t, lab.Eventually(2*waitLimit, func() error {
		a.greet(t)
		before := sentShort(a.figures(t))
		rounds++
		a.send(t, round...)
		if n := sentShort(a.figures(t)) - before; n < uint64(len(round)) {
			return fmt.Errorf("%+v: %d of %d packets were sent past the process", p, n, len(round))
		}
		return nil
	}))
	all := a.sentTimes(t, rounds*len(round), round)
	headers := map[string]int{}
	for _, e := range all {
		checkSum(t, e, !noSum)
		if (e.UDP.Checksum == 0) != noSum {
			t.Fatalf("outer checksum %#x", e.UDP.Checksum)
		}
		headers[unchanging(e)]++
		a.checkBare(t, p, e)
	}
	// One for each value of the ECN bits, but CE is sent as ECT(0); bare packets
	// have none outside.
	want := map[string]int{"l3": 3, "udp": 1}[a.routed]
	if len(headers) != want {
		t.Errorf("%+v: %d kinds of outer headers, want %d: %v", p, len(headers), want, headers)
	}
}

// sentTimes waits for so many datagrams on the wire, and wants nothing in them but
// packets that were sent, each as often.
func (a *alone) sentTimes(t *testing.T, n int, round [][]byte) (all []*dissect.Encapsulated) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		all = nil
		for _, e := range a.datagrams(a.wire.Frames()) {
			if !e.Frame.Outgoing {
				all = append(all, e)
			}
		}
		if len(all) < n {
			return fmt.Errorf("%d of %d datagrams are on the wire", len(all), n)
		}
		return nil
	}))
	times := map[string]int{}
	for _, e := range all {
		times[string(a.sentIn(e))]++
	}
	for _, packet := range round {
		if times[string(packet)] != n/len(round) {
			t.Fatalf("% x is on the wire %d times, want %d", packet, times[string(packet)], n/len(round))
		}
	}
	if len(all) != n {
		t.Fatalf("%d datagrams are on the wire, want %d", len(all), n)
	}
	return all
}

// checkBare wants what flannel's proxy looks for around a bare packet.
func (a *alone) checkBare(t *testing.T, p inner, e *dissect.Encapsulated) {
	t.Helper()
	if a.routed != "udp" {
		eth := e.Inner.LinkLayer().(*layers.Ethernet)
		if e.VXLAN.VNI != 1 || !bytes.Equal(eth.SrcMAC, macOfA) || !bytes.Equal(eth.DstMAC, macOfB) {
			t.Fatalf("VNI %d, from %v to %v", e.VXLAN.VNI, eth.SrcMAC, eth.DstMAC)
		}
		return
	}
	if e.UDP.SrcPort != flannelPort || ttlOf(e.Outer.NetworkLayer()) != 64 {
		t.Fatalf("from port %d, TTL %d", e.UDP.SrcPort, ttlOf(e.Outer.NetworkLayer()))
	}
	if e.IPv4 != nil && (e.IPv4.Flags&layers.IPv4DontFragment != 0) != (p.df || p.v6) {
		t.Fatalf("%+v: flags %v outside", p, e.IPv4.Flags)
	}
}
