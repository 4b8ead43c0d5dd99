//go:build !portable

package shortcut

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// path is a wire, and in front of it a device whose frames go through the program.
// What the program leaves alone comes out at the device's other end.
type path struct {
	a             *lab.Host
	table         *Table
	link          *Slot
	device, under int
	wire, left    *lab.Capture
	ring          *Ring // nil without
}

const (
	waitLimit = 5 * time.Second
	mtu       = 1500
)

func newPath(t *testing.T) *path {
	t.Helper()
	lab.NeedShortcuts(t)
	a, b := lab.TestPair(t)
	for _, h := range []*lab.Host{a, b} {
		check(t, h.Sysctl("net.ipv6.conf.default.disable_ipv6", "1")) // nothing moves on the devices to come
	}
	check(t, a.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "tap0", MTU: 9000, TxQLen: -1}, PeerName: "tap1", PeerMTU: 9000}))
	check(t, a.SetUp("tap0"))
	check(t, a.SetUp("tap1"))
	to, err := b.Device("eth0")
	check(t, err)
	for _, addr := range []netip.Prefix{lab.PairB4, lab.PairB6} {
		check(t, a.AddNeighbour("eth0", addr.Addr(), to.MAC))
	}
	p := &path{a: a, wire: lab.TestCapture(t, b, "eth0"), left: lab.TestCapture(t, a, "tap1")}
	for name, index := range map[string]*int{"tap0": &p.device, "eth0": &p.under} {
		d, err := a.Device(name)
		check(t, err)
		*index = d.Index
	}
	var on io.Closer
	check(t, a.Do(func() (err error) {
		if p.table, err = Open(untold); err == nil {
			p.link = p.table.Slot()
			on, err = p.table.SendBy(p.device, Framed)
		}
		return err
	}))
	t.Cleanup(func() { _ = on.Close(); p.table.Free(p.link); p.table.Close() })
	return p
}

// tell has the program carry a flow from now on.
func (p *path) tell(t *testing.T, f *flow) Grant {
	t.Helper()
	s := &Send{
		Frame: f.frame(t, 0, nil), Device: p.device, Link: p.link, Version: p.link.Changes().Load(),
		Outer: f.outer(t, 0), NoCsum: f.noCsum, MTU: mtu, IfIndex: p.under, NextHop: lab.PairB6.Addr(),
		Ring: p.ring,
	}
	if f.outer4 {
		s.NextHop = lab.PairB4.Addr()
	}
	g, ok := p.table.Send(s)
	if !ok {
		t.Fatalf("%+v is no flow", f)
	}
	p.link.Drained(Now() + uint64(settle+2*Enqueue))
	return g
}

// sent sends frames, and returns the datagrams in which they leave.
func (p *path) sent(t *testing.T, frames ...[]byte) []*dissect.Encapsulated {
	t.Helper()
	seen := len(p.wire.Frames())
	check(t, p.a.SendFrame("tap0", frames...))
	var all []*dissect.Encapsulated
	check(t, lab.Eventually(waitLimit, func() error {
		if all = dissect.VXLANs(p.wire.Frames()[seen:], 4789); len(all) < len(frames) {
			return fmt.Errorf("%d of %d frames are on the wire, %d were left to the process", len(all), len(frames), len(p.left.Frames()))
		}
		return nil
	}))
	for i, e := range all {
		if !bytes.Equal(e.Inner.Data(), frames[i]) {
			t.Fatalf("frame %d\n%x left as\n%x", i, frames[i], e.Inner.Data())
		}
	}
	return all
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestSendOuter has random frames of random flows leave: what is around them
// adds up, and says what it should.
func TestSendOuter(t *testing.T) {
	p, r := newPath(t), rand.New(rand.NewPCG(11, 12))
	for range 50 {
		f := randomFlow(r)
		f.from, f.to = randomAddr(r, f.outer4), randomAddr(r, f.outer4)
		var frames [][]byte
		for ecn := range uint8(4) {
			frames = append(frames, f.frame(t, ecn, randomBytes(r, r.IntN(1360))))
		}
		p.tell(t, f)
		for ecn, e := range p.sent(t, frames...) {
			f.checkOuter(t, e, ecn)
		}
		if f.noCsum {
			continue
		}
		// With this source port, what is left of the sum is zero, which
		// would be none (RFC 768).
		c := p.sent(t, frames[0])[0].UDP.Checksum
		f.outerPort = lab.OnesSum(binary.BigEndian.AppendUint16(nil, f.outerPort), binary.BigEndian.AppendUint16(nil, c))
		p.tell(t, f)
		e := p.sent(t, frames[0])[0]
		if f.checkOuter(t, e, 0); e.UDP.Checksum != 0xffff {
			t.Fatalf("%+v: checksum %#x, want 0xffff", f, e.UDP.Checksum)
		}
	}
}

// checkOuter looks at the datagram of a frame with those ECN bits.
func (f *flow) checkOuter(t *testing.T, e *dissect.Encapsulated, ecn int) {
	t.Helper()
	tos, size := f.outerTOS|[]uint8{0, 1, 2, 2}[ecn], 16+len(e.Inner.Data()) // RFC 6040 §4.1, as Linux does it
	if err := dissect.VerifyChecksums(e.Outer); err != nil {
		t.Fatalf("%+v: %v", f, err)
	}
	if int(e.UDP.Length) != size || (e.UDP.Checksum == 0) != f.noCsum || uint16(e.UDP.SrcPort) != f.outerPort || e.VXLAN.VNI != f.vni {
		t.Fatalf("%+v: %+v %+v", f, e.UDP, e.VXLAN)
	}
	if f.outer4 {
		if e.IPv4 == nil || int(e.IPv4.Length) != 20+size || e.IPv4.TOS != tos || e.IPv4.TTL != f.outerTTL {
			t.Fatalf("%+v: %+v", f, e.IPv4)
		}
		return
	}
	if e.IPv6 == nil || int(e.IPv6.Length) != size || e.IPv6.TrafficClass != tos || e.IPv6.HopLimit != f.outerTTL || e.IPv6.FlowLabel != f.label^0xfffff {
		t.Fatalf("%+v: %+v", f, e.IPv6)
	}
}

// left are frames of the flow that the program does not carry.
func (f *flow) left(t *testing.T) map[string][]byte {
	t.Helper()
	full := mtu - 20 - 16 - 14 // bytes of inner IP packet
	if !f.outer4 {
		full -= 20
	}
	headers := 28
	if f.tcp {
		headers += 12
	}
	if f.src.Is6() {
		headers += 20
	}
	other, plain := *f, f.frame(t, 0, make([]byte, 40))
	other.tos ^= 4
	frames := map[string][]byte{
		"other DSCP":       other.frame(t, 0, make([]byte, 40)),
		"something behind": append(slices.Clone(plain), 0),
		"too large":        f.frame(t, 0, make([]byte, full-headers+1)),
	}
	other = *f
	other.ttl ^= 1
	frames["other TTL"] = other.frame(t, 0, make([]byte, 40))
	udp := len(plain) - 48
	if !f.tcp {
		frames["no checksum"] = slices.Concat(plain[:udp+6], []byte{0, 0}, plain[udp+8:])
	} else {
		frames["CWR"] = slices.Concat(plain[:len(plain)-40-20+13], []byte{0x90}, plain[len(plain)-40-20+14:])
	}
	return frames
}

// TestSendLeft has frames that are unusual among others of a flow. Each is left
// as it is, and so are those behind it until the queue is known to be empty.
func TestSendLeft(t *testing.T) {
	p, r := newPath(t), rand.New(rand.NewPCG(13, 14))
	for range 6 {
		f := randomFlow(r)
		f.from, f.to = randomAddr(r, f.outer4), randomAddr(r, f.outer4)
		plain := f.frame(t, 0, make([]byte, 40))
		for name, frame := range f.left(t) {
			outlast(p.tell(t, f))
			check(t, lab.Eventually(waitLimit, func() error { return notYet(p.link.words[wordDrained].Load()) }))
			p.sent(t, plain)
			seen, wire := len(p.left.Frames()), len(dissect.VXLANs(p.wire.Frames(), 4789))
			check(t, p.a.SendFrame("tap0", frame, plain))
			if !p.came(t, seen, frame, plain) {
				t.Fatalf("%s of %+v was not left, or the one behind was not", name, f)
			}
			p.link.Drained(Now() + uint64(Enqueue))
			p.sent(t, plain)
			if n := len(dissect.VXLANs(p.wire.Frames(), 4789)); n != wire+1 {
				t.Fatalf("%s of %+v: %d datagrams, want one", name, f, n-wire)
			}
		}
	}
}

// TestSendDropped has frames wait for a queue that is being emptied: datagrams are
// dropped and counted, everything else is left, and so are they before and after, and
// when they could not be carried.
func TestSendDropped(t *testing.T) {
	p, r := newPath(t), rand.New(rand.NewPCG(15, 16))
	stranger := randomFlow(r).frame(t, 0, nil)
	for _, tcp := range []bool{false, true} {
		f := randomFlow(r)
		f.tcp, f.from, f.to = tcp, randomAddr(r, f.outer4), randomAddr(r, f.outer4)
		plain := f.frame(t, 0, make([]byte, 40))
		outlast(p.tell(t, f))
		p.link.Drained(0)
		for _, c := range []struct {
			name    string
			prepare func()
			dropped bool
		}{
			{"before", func() {}, false},
			{"until later", func() { p.link.Empty(Now() + uint64(time.Hour)) }, !tcp},
			{"until just now", func() { p.link.Empty(Now() - 1) }, false},
			{"ended", func() { p.link.Empty(0) }, false},
			{"after a change", func() { p.link.Empty(Now() + uint64(time.Hour)); p.link.Changes().Add(1) }, false},
		} {
			c.prepare()
			want, dropped := [][]byte{plain, stranger}, uint64(0)
			if c.dropped {
				want, dropped = want[1:], 1
			}
			before, queued, seen := p.table.Figures(p.link), p.link.Left(), len(p.left.Frames())
			check(t, p.a.SendFrame("tap0", plain, stranger)) // nobody is told of a loss
			if !p.came(t, seen, want...) {
				t.Errorf("TCP %v, %s: %d frames were left, want %d", tcp, c.name, len(p.left.Frames())-seen, len(want))
			}
			now := p.table.Figures(p.link)
			if n := now.TxDropped - before.TxDropped; n != dropped || now.TxPackets != before.TxPackets {
				t.Errorf("TCP %v, %s: %d count as dropped, want %d", tcp, c.name, n, dropped)
			}
			if n := p.link.Left() - queued; n != 1-dropped {
				t.Errorf("TCP %v, %s: %d count as left, want %d", tcp, c.name, n, 1-dropped)
			}
		}
		p.link.Empty(0)
	}
}

// outlast has a grant hold for longer than a test takes on a machine that stands still.
func outlast(g Grant) { g.words[wordExpires].Store(Now() + uint64(time.Hour)) }

func notYet(at uint64) error {
	if Now() <= at {
		return fmt.Errorf("it is not %d yet", at)
	}
	return nil
}

// came reports whether those frames and no other were left to the process.
func (p *path) came(t *testing.T, seen int, want ...[]byte) bool {
	t.Helper()
	_ = lab.Eventually(waitLimit, func() error {
		if n := len(p.left.Frames()) - seen; n < len(want) {
			return fmt.Errorf("%d frames", n)
		}
		return nil
	})
	got := p.left.Frames()[seen:]
	return slices.EqualFunc(got, want, func(f lab.Frame, b []byte) bool { return bytes.Equal(f.Data, b) })
}
