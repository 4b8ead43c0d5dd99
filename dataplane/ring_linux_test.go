//go:build !portable

package dataplane

import (
	"slices"
	"testing"
	"time"
)

// script is a ring of frames that a test puts there.
type script struct {
	frames   [][]byte
	link     int
	at       int // read up to
	released int
	sleeps   []uint64 // bytes
	calmed   int
	quiet    time.Duration
	skip     int // empty records that are next
	lost     uint64
	shut     int
}

// scriptBytes is what each frame counts for in positions.
const scriptBytes = 128

func (s *script) Next() (frame []byte, link int, ok bool) {
	for ; s.skip > 0; s.skip-- {
		s.frames, s.at = append(s.frames, nil), s.at+1
	}
	if s.at == len(s.frames) {
		return nil, 0, false
	}
	s.at++
	return s.frames[s.at-1], s.link, true
}

func (s *script) At() uint64   { return uint64(s.at) * scriptBytes }
func (s *script) End() uint64  { return uint64(len(s.frames)) * scriptBytes }
func (s *script) Release()     { s.released = s.at }
func (s *script) Awake()       {}
func (s *script) Calm(uint64)  { s.calmed++ }
func (s *script) Shut(uint64)  { s.shut++ }
func (s *script) Full() uint64 { return s.lost }

func (s *script) Quiet() time.Duration { return s.quiet }

func (s *script) Sleep(bytes uint64) bool {
	s.sleeps = append(s.sleeps, bytes)
	return s.End() < s.At()+bytes
}

// put adds n datagrams of one flow.
func (s *script) put(n int) {
	for range n {
		s.frames = append(s.frames, frame(false, udp(0), make([]byte, smallSize)))
	}
}

func newScripted(t testing.TB) (*path, *ringSource, *script) {
	t.Helper()
	p, s := newPath(t), &script{link: 3}
	source := newRingSource(p.port, s)
	source.links[3] = p.Link
	p.port.ring = source
	return p, source, s
}

// serve does as the loop until it is idle, and returns how many batches it moved.
func (s *ringSource) serve() (batches int) {
	for {
		busy, _ := s.read()
		if !busy {
			return batches
		}
		s.handle()
		batches++
	}
}

func (p *path) sentSoFar() int { return int(p.counters.txPackets.Load()) }

// TestRingMoves moves what is in a ring, of a link and of one that is gone.
func TestRingMoves(t *testing.T) {
	p, source, s := newScripted(t)
	s.put(3 * smalls)
	if n := source.serve(); n < 3 || p.sentSoFar() != 3*smalls || s.released != 3*smalls {
		t.Errorf("%d batches: %d of %d datagrams were sent, %d released", n, p.sentSoFar(), 3*smalls, s.released)
	}
	if n := p.counters.ringed.Load(); n != 3*smalls {
		t.Errorf("%d count as come by the ring", n)
	}
	s.link = 4
	s.put(10)
	source.catchUp()
	if p.sentSoFar() != 3*smalls || s.released != len(s.frames) {
		t.Errorf("of a link that is gone %d were sent, up to %d of %d released", p.sentSoFar()-3*smalls, s.released, len(s.frames))
	}
	source.remove(p.Link) // has no slot: nothing to be removed
}

// TestRingFirst has frames come by the device while their flow has others in the ring,
// which are sent first, however few and soon: the ring is empty when the batch is sent.
func TestRingFirst(t *testing.T) {
	p, source, s := newScripted(t)
	s.put(1)
	source.serve()
	s.put(5)
	source.moved = time.Since(began) + time.Hour
	if n := source.serve(); n != 0 {
		t.Fatalf("%d batches were moved at once, in the middle of a nap", n)
	}
	device := deviceSource{link: p.Link, batch: p.port.ring.batch}
	device.batch.Reset()
	device.handle()
	if s.released != 6 || p.sentSoFar() != 6 {
		t.Errorf("%d of 6 were sent before what came by the device, %d released", p.sentSoFar(), s.released)
	}
}

// TestRingNaps has datagrams wait for others in a flood, and for nothing else.
func TestRingNaps(t *testing.T) {
	_, source, s := newScripted(t)
	if limit := source.doze(); limit >= 0 || !slices.Equal(s.sleeps, []uint64{1}) {
		t.Errorf("without a flood it sleeps for %v until there are %d bytes", limit, s.sleeps)
	}
	s.put(1)
	if source.serve() != 1 {
		t.Error("a first datagram waits")
	}
	if limit := source.doze(); limit != nap || s.sleeps[1] != napBytes {
		t.Errorf("in a flood it sleeps for %v until there are %d bytes", limit, s.sleeps[1])
	}
	s.put(napBytes/scriptBytes - 1)
	if source.moved = time.Since(began) + time.Hour; source.serve() != 0 {
		t.Error("they do not wait")
	}
	if s.put(1); source.serve() == 0 || s.released != len(s.frames) {
		t.Error("many wait")
	}
	s.put(1)
	if source.moved = time.Since(began) - nap; source.serve() != 1 {
		t.Error("they wait for longer than a nap")
	}
	s.put(napBytes / scriptBytes)
	if limit := source.doze(); limit != 0 {
		t.Errorf("it sleeps for %v although there is enough", limit)
	}
}

// TestRingJudges has naps bring few datagrams: then it was no flood. It was, if one in
// between brings many, and whether those that came before a nap were few says nothing.
func TestRingJudges(t *testing.T) {
	_, source, s := newScripted(t)
	bring := func(n int) {
		s.put(n)
		source.moved = time.Since(began) - nap
		source.serve()
		source.moved = time.Since(began)
	}
	napOf := func(n int) {
		source.doze()
		bring(n)
	}
	for range 3 * maxPoor {
		bring(1)
	}
	for range maxPoor - 1 {
		napOf(floodLeast - 1)
	}
	napOf(floodLeast)
	for range maxPoor - 1 {
		napOf(1)
	}
	if s.calmed != 0 {
		t.Fatalf("it was taken for none after %d naps in a row", maxPoor-1)
	}
	if napOf(1); s.calmed != 1 {
		t.Errorf("it was taken for one after %d naps with a datagram each", maxPoor)
	}
	// Those that wait for answers come at the begin of each nap.
	s.quiet = nap/2 + 1
	for range maxPoor - 1 {
		napOf(2 * floodLeast)
	}
	if s.calmed != 1 {
		t.Fatalf("it was taken for none after %d naps of that kind", maxPoor-1)
	}
	if napOf(2 * floodLeast); s.calmed != 2 {
		t.Error("it was taken for one although the sender waits in each nap")
	}
	// What comes by a device meanwhile does not make naps poor.
	s.quiet = 0
	for range 2 * maxPoor {
		source.doze()
		s.put(1)
		source.catchUp()
		napOf(floodLeast)
	}
	if s.calmed != 2 {
		t.Error("it was taken for none, since some were sent before what came by a device")
	}
}

// TestRingOfEmptyRecords has nothing in a ring but the records with which its reader was
// woken: they are given back.
func TestRingOfEmptyRecords(t *testing.T) {
	_, source, s := newScripted(t)
	s.put(1)
	source.serve()
	s.skip = 1
	if n := source.take(); n != 0 || s.released != s.at {
		t.Errorf("%d frames were taken, %d of %d are released", n, s.released, s.at)
	}
}

// TestRingAllocatesNothing moves batches of all sorts.
func TestRingAllocatesNothing(t *testing.T) {
	_, source, s := newScripted(t)
	s.put(smalls)
	for _, ipv6 := range []bool{false, true} {
		s.frames[0] = frame(ipv6, udp(0), make([]byte, smallSize))
		wantNoAllocs(t, "batch", func() {
			s.at = 0
			if source.take() > 0 {
				source.handle()
			}
		})
	}
}

// BenchmarkRing is what a datagram meets between the ring and sendmmsg.
func BenchmarkRing(b *testing.B) {
	_, source, s := newScripted(b)
	s.put(smalls)
	b.ReportAllocs()
	for b.Loop() {
		s.at = 0
		source.take()
		source.handle()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*smalls), "ns/datagram")
}

// TestRingJudgesLoss has three of five datagrams find no room, and then a few more: the
// programs are to send by themselves.
func TestRingJudgesLoss(t *testing.T) {
	_, source, s := newScripted(t)
	lose := func(n uint64) {
		s.lost += n
		for before := s.at; s.at < before+lossEvery; source.catchUp() {
			s.put(lossEvery / 16)
		}
	}
	lose(0)
	lose(lossEvery * 3 / 2)
	if s.shut != 0 {
		t.Fatal("it was shut, although no more than three of five were lost")
	}
	lose(lossEvery*3/2 + 1)
	lose(0)
	if s.shut != 1 {
		t.Errorf("it was shut %d times, and more were lost once", s.shut)
	}
}
