//go:build !portable

package shortcut

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// flooded is a path whose link has a ring.
type flooded struct {
	*path
	epoll int // of the ring's descriptor, by edges
}

func newFlooded(t *testing.T) *flooded {
	t.Helper()
	f := &flooded{path: newPath(t)}
	var err error
	f.ring, err = f.table.OpenRing()
	check(t, err)
	t.Cleanup(f.ring.Close)
	check(t, f.table.FloodBy(f.link, f.ring))
	f.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	check(t, err)
	t.Cleanup(func() { unix.Close(f.epoll) })
	check(t, unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, f.ring.FD(), &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}))
	return f
}

// flood has every core take the present for one, or not.
func (f *flooded) flood(t *testing.T, now bool) {
	t.Helper()
	each := make([]perCore, ebpf.MustPossibleCPU())
	if now {
		for i := range each {
			each[i].Flooding.Until = Now() + uint64(time.Hour)
		}
	}
	check(t, f.table.figures.Put(uint32(f.link.Index()), each))
}

// tellDrained is tell, and waits until the device's queue is known to be empty.
func (f *flooded) tellDrained(t *testing.T, of *flow) {
	t.Helper()
	outlast(f.tell(t, of))
	check(t, lab.Eventually(waitLimit, func() error { return notYet(f.link.words[wordDrained].Load()) }))
}

// inRing sends frames and wants all of them in the ring, and nowhere else.
func (f *flooded) inRing(t *testing.T, frames ...[]byte) {
	t.Helper()
	left, wire := len(f.left.Frames()), len(dissect.VXLANs(f.wire.Frames(), 4789))
	check(t, f.a.SendFrame("tap0", frames...))
	for i, want := range frames {
		got, link, ok := f.ring.Next()
		if !ok || link != f.link.Index() || !bytes.Equal(got, want) {
			t.Fatalf("frame %d is %x of link %d in the ring, want %x of %d", i, got, link, want, f.link.Index())
		}
	}
	if _, _, ok := f.ring.Next(); ok {
		t.Fatal("there is more in the ring")
	}
	if l, w := len(f.left.Frames())-left, len(dissect.VXLANs(f.wire.Frames(), 4789))-wire; l+w > 0 {
		t.Fatalf("%d frames were left to the device, %d are on the wire", l, w)
	}
}

// randomDatagrams are frames of a flow of all sizes that a ring takes.
func randomDatagrams(t *testing.T, r *rand.Rand, f *flow) (frames [][]byte) {
	t.Helper()
	room := ringFrameMax - len(f.frame(t, 0, nil))
	for _, n := range []int{0, 1, room - 1, room, r.IntN(room), r.IntN(room), r.IntN(room)} {
		frames = append(frames, f.unfinished(t, uint8(r.IntN(4)), randomBytes(r, n)))
	}
	return frames
}

// unfinished is a datagram whose checksum is that of the pseudo-header alone.
func (f *flow) unfinished(t *testing.T, ecn uint8, payload []byte) []byte {
	t.Helper()
	frame := f.frame(t, ecn, payload)
	udp := len(frame) - len(payload) - 8
	pseudo := slices.Concat(f.src.AsSlice(), f.dst.AsSlice(), []byte{0, 17}, frame[udp+4:udp+6])
	binary.BigEndian.PutUint16(frame[udp+6:], lab.OnesSum(pseudo))
	return frame
}

func randomUDP(r *rand.Rand) *flow {
	f := randomFlow(r)
	f.tcp, f.noCsum, f.from, f.to = false, false, randomAddr(r, f.outer4), randomAddr(r, f.outer4)
	return f
}

// TestRing has random datagrams of random flows sent in a flood: they are in the ring
// as they are, one behind the other, and nowhere else. When the flood is over they
// still are, until what is there has been released; then they leave past it.
func TestRing(t *testing.T) {
	p, r := newFlooded(t), rand.New(rand.NewPCG(21, 22))
	for range 100 {
		f := randomUDP(r)
		p.flood(t, true)
		p.tellDrained(t, f)
		frames := randomDatagrams(t, r, f)
		p.inRing(t, slices.Repeat(frames, 5)...)
		p.flood(t, false)
		p.inRing(t, frames[0])
		p.ring.Release()
		p.sent(t, frames...)
	}
	if p.ring.At() < ringSize {
		t.Errorf("all of it was %d bytes, which does not go around", p.ring.At())
	}
}

// TestRingWithout has a flood of what a ring does not take: it is carried past it,
// as without a flood, or left if it has to wait for what is in the ring. TCP is
// carried whatever is in the ring of others.
func TestRingWithout(t *testing.T) {
	p, r := newFlooded(t), rand.New(rand.NewPCG(23, 24))
	p.flood(t, true)
	f := randomUDP(r)
	p.tellDrained(t, f)
	small := f.unfinished(t, 0, nil)
	large := f.unfinished(t, 0, make([]byte, ringFrameMax-len(small)+1))
	finished := f.frame(t, 0, []byte{1})
	p.sent(t, large, finished)
	p.inRing(t, small)

	tcp := randomUDP(r)
	tcp.tcp = true
	p.tellDrained(t, tcp)
	p.sent(t, tcp.frame(t, 0, nil))

	seen := len(p.left.Frames())
	check(t, p.a.SendFrame("tap0", large, finished, small))
	if !p.came(t, seen, large, finished, small) {
		t.Error("a frame that is too large, or finished, was not left, or the one behind was not")
	}
	p.ring.Release()
	p.link.Drained(Now() + uint64(Enqueue))
	check(t, lab.Eventually(waitLimit, func() error { return notYet(p.link.words[wordDrained].Load()) }))
	p.inRing(t, small)
}

// TestRingTold has a flow be told of again while some of it is in the ring: it has to
// wait for that as before.
func TestRingTold(t *testing.T) {
	p, r := newFlooded(t), rand.New(rand.NewPCG(25, 26))
	f := randomUDP(r)
	p.flood(t, true)
	p.tellDrained(t, f)
	p.inRing(t, f.unfinished(t, 0, nil))
	p.flood(t, false)
	p.tellDrained(t, f)
	p.inRing(t, f.unfinished(t, 0, nil))
	p.ring.Release()
	p.sent(t, f.frame(t, 0, nil))
}

// TestRingFull has a ring overflow: what it has no room for counts as dropped, and is
// nowhere. The rest is as it was sent.
func TestRingFull(t *testing.T) {
	p, r := newFlooded(t), rand.New(rand.NewPCG(27, 28))
	f := randomUDP(r)
	p.flood(t, true)
	p.tellDrained(t, f)
	plain := f.unfinished(t, 0, make([]byte, 300))
	const more = 1000
	record := int(kernelHeadLen + ringRecords[2])
	sent, holds := ringSize/record+more, ringSize/record
	check(t, p.a.SendFrame("tap0", slices.Repeat([][]byte{plain}, sent)...))
	got := 0
	for {
		frame, _, ok := p.ring.Next()
		if !ok {
			break
		}
		if got++; !bytes.Equal(frame, plain) {
			t.Fatalf("frame %d is %x", got, frame)
		}
	}
	dropped := int(p.table.Figures(p.link).TxDropped)
	if got+dropped != sent || got < holds-1 || got > holds {
		t.Errorf("%d frames are in the ring and %d count as dropped, of %d; there is room for %d", got, dropped, sent, holds)
	}
	if full := int(p.ring.Full()); full != dropped {
		t.Errorf("the ring says that %d found no room", full)
	}
	if l, w := len(p.left.Frames()), len(dissect.VXLANs(p.wire.Frames(), 4789)); l+w > 0 {
		t.Errorf("%d frames were left to the device, %d are on the wire", l, w)
	}
	p.ring.Release()
	p.inRing(t, plain)
}

// TestRingShut has frames not wait for those before them in the ring any more: they are
// dropped and counted until it is empty, and then the flow goes past it.
func TestRingShut(t *testing.T) {
	p, r := newFlooded(t), rand.New(rand.NewPCG(35, 36))
	f := randomUDP(r)
	p.flood(t, true)
	p.tellDrained(t, f)
	plain := f.unfinished(t, 0, nil)
	p.inRing(t, plain)
	p.ring.Shut(Now() + uint64(time.Hour))
	check(t, p.a.SendFrame("tap0", plain))
	if s := p.table.Figures(p.link); s.TxDropped != 1 || p.ring.At() != p.ring.End() || p.ring.Full() > 0 {
		t.Errorf("it was not dropped: %+v, %d bytes are in the ring, %d found no room", s, p.ring.End()-p.ring.At(), p.ring.Full())
	}
	p.ring.Release()
	p.sent(t, plain)
	p.ring.Shut(Now() - 1)
	p.inRing(t, plain)
}

// TestRingOfGone has a link's slot be another's: what that sends is carried without a
// ring, since it has none.
func TestRingOfGone(t *testing.T) {
	p, r := newFlooded(t), rand.New(rand.NewPCG(29, 30))
	p.table.Free(p.link)
	if p.link = p.table.Slot(); p.link == nil {
		t.Fatal("there is no slot")
	}
	p.flood(t, true)
	f := randomUDP(r)
	p.tellDrained(t, f)
	p.sent(t, f.frame(t, 0, nil))
}

// TestRingWakes has a reader sleep until a frame comes, or until there are some bytes:
// no sooner, once, and not while it is awake.
func TestRingWakes(t *testing.T) {
	p, r := newFlooded(t), rand.New(rand.NewPCG(31, 32))
	f := randomUDP(r)
	p.flood(t, true)
	p.tellDrained(t, f)
	plain := f.unfinished(t, 0, nil)
	send := func() { t.Helper(); check(t, p.a.SendFrame("tap0", plain)) }
	send()
	p.woken(t, "while awake", false)
	if p.ring.Sleep(1) {
		t.Error("it sleeps although there is a frame")
	}
	if _, _, ok := p.ring.Next(); !ok {
		t.Fatal("the frame is not there")
	}
	for _, bytes := range []uint64{1, 128 + kernelHeadLen + 1} {
		if !p.ring.Sleep(bytes) {
			t.Fatalf("it does not sleep until there are %d bytes", bytes)
		}
		if send(); bytes > 1 {
			p.woken(t, "by one of two", false)
			send()
		}
		p.woken(t, fmt.Sprintf("by %d bytes", bytes), true)
		send()
		p.woken(t, "again", false)
		p.ring.Awake()
		for more := true; more; {
			_, _, more = p.ring.Next()
		}
		p.ring.Release()
	}
}

// woken wants the ring's descriptor to have become readable, or not, since it was last
// asked.
func (f *flooded) woken(t *testing.T, what string, want bool) {
	t.Helper()
	timeout := 0 // what is to wake does so in the call that sends
	if want {
		timeout = int(waitLimit.Milliseconds())
	}
	n, err := unix.EpollWait(f.epoll, make([]unix.EpollEvent, 1), timeout)
	check(t, err)
	if woken := n == 1; woken != want {
		t.Errorf("%s: woken %v, want %v", what, woken, want)
	}
}

// TestRingCalm has the reader say that there is no flood.
func TestRingCalm(t *testing.T) {
	p, r := newFlooded(t), rand.New(rand.NewPCG(33, 34))
	f := randomUDP(r)
	p.flood(t, true)
	p.tellDrained(t, f)
	plain := f.unfinished(t, 0, nil)
	p.inRing(t, plain)
	p.ring.Calm(Now() + uint64(time.Hour))
	p.inRing(t, plain) // it waits for the one before
	p.ring.Release()
	p.sent(t, plain)
	p.ring.Calm(Now() - 1)
	p.inRing(t, plain)
}
