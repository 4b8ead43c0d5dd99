package interop

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// shortcutSpecs are words that say what is around a frame.
var shortcutSpecs = []struct {
	name string
	set  func(s *spec)
}{
	{"no words", func(*spec) {}},
	{"ttl 100 tos 0x14 df set", func(s *spec) { s.TTL, s.TOS, s.DF = 100, 0x14, lab.DFSet }},
	{"ttl inherit tos inherit df inherit", func(s *spec) { s.TTLInherit, s.TOS, s.DF = true, 1, lab.DFInherit }},
	{"srcport 5000 5010", func(s *spec) { s.SrcPortLow, s.SrcPortHigh = 5000, 5010 }},
	{"noudpcsum udp6zerocsumtx", func(s *spec) { s.NoUDPCSum, s.UDP6ZeroCSumTx = true, true }},
	{"udpcsum", func(s *spec) { s.Words = append(s.Words, "udpcsum") }},
}

// TestShortcutOuter has flows sent by weft first and then past it: what is
// around a frame stays as it was, with right checksums outside and inside.
func TestShortcutOuter(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for _, s := range shortcutSpecs {
			t.Run(u.name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				a := newAlone(t, user, u, func(_ *lab.Host, to *spec) {
					if s.set(to); u == underlay6 {
						to.FlowLabel = 0x12345
					}
				})
				for mark, p := range []inner{{}, {df: true}, {v6: true}, {tcp: true}, {v6: true, tcp: true}} {
					p.srcPort, p.dstPort, p.ttl, p.tos = 1000, 2000, 77, 0xa8
					a.checkFlow(t, p, mark+1, s.name == "noudpcsum udp6zerocsumtx")
				}
			})
		}
	}
}

// checkFlow sends frames of one flow, of all lengths and ECN bits, until a whole
// round of them has gone past the process.
func (a *alone) checkFlow(t *testing.T, p inner, mark int, noSum bool) {
	t.Helper()
	var round [][]byte
	for i := range 40 {
		q := p
		q.tos, q.size = p.tos|uint8(i%4), []int{0, 1, 2, 3, 100, 999, 1300, 1301}[i%8]+i/8
		round = append(round, q.frame(t, mark))
	}
	seen := len(a.wire.Frames())
	check(t, lab.Eventually(2*waitLimit, func() error {
		before := a.weft.stats(a.link).Offload.ShortcutTx
		a.send(t, round...)
		if n := a.weft.stats(a.link).Offload.ShortcutTx - before; n < uint64(len(round)) {
			return fmt.Errorf("%+v: %d of %d frames were sent past the process", p, n, len(round))
		}
		return nil
	}))
	a.sent(t, round[len(round)-1])
	headers := map[string]int{}
	for _, e := range dissect.VXLANs(a.wire.Frames()[seen:], a.port) {
		if e.Frame.Outgoing || !bytes.Equal(e.Inner.Data()[6:12], markMAC(mark)) {
			continue // those of the flow before count before they are on the wire
		}
		checkSum(t, e, !noSum)
		if (e.UDP.Checksum == 0) != noSum {
			t.Fatalf("outer checksum %#x", e.UDP.Checksum)
		}
		headers[unchanging(e)]++
	}
	// One for each value of the ECN bits, but CE is sent as ECT(0).
	if len(headers) != 3 {
		t.Errorf("%+v: %d kinds of outer headers, want 3: %v", p, len(headers), headers)
	}
}

// unchanging are the outer headers without what is each datagram's own, and the
// frame's addresses.
func unchanging(e *dissect.Encapsulated) string {
	b := append([]byte{}, e.Frame.Data[:len(e.Frame.Data)-len(e.Inner.Data())+etherOf(e)]...)
	ip := b[14:]
	if e.IPv4 != nil {
		clear(ip[2:6])
		clear(ip[10:12])
		clear(ip[20+4 : 20+8])
		return fmt.Sprintf("%x", b)
	}
	clear(ip[4:6])
	clear(ip[40+4 : 40+8])
	return fmt.Sprintf("%x", b)
}
