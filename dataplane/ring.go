package dataplane

import (
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/encap"
)

// ringSource is a port's ring as the loop serves it: what its links' devices send in
// a flood comes by it, and not by the device (see shortcut.Ring).
//
// The more datagrams it finds, the less each costs, so in a flood the worker naps
// until there are many. Where it then finds few, it was none: requests that follow
// their answers look like one, and are not to wait.
type ringSource struct {
	port  *port
	ring  ring
	links map[int]*Link // by the index of their slot
	batch *tap.Batch
	of    []*Link // what is in the batch

	until  uint64        // position up to which all is moved without a pause
	moved  time.Duration // when something was, last
	number int           // of datagrams since that pause
	napped bool          // it was a nap
	waits  bool          // at its end the sender did nothing any more
	poor   int           // naps in a row that brought few

	since uint64 // datagrams moved since what was lost was looked at
	full  uint64 // datagrams lost until then
}

// ring is the part of shortcut.Ring that a worker uses.
type ring interface {
	Next() (frame []byte, link int, ok bool)
	At() uint64
	End() uint64
	Quiet() time.Duration
	Release()
	Sleep(bytes uint64) bool
	Awake()
	Calm(until uint64)
	Full() uint64
	Shut(until uint64)
}

const (
	// nap is the longest that datagrams wait for others in a flood.
	nap = 250 * time.Microsecond
	// napBytes is how much of the ring is used when the worker is woken: no more datagrams
	// at once than the smallest socket buffers take.
	napBytes = 16 << 10
	// floodLeast is how many datagrams come in a nap if it is a flood, unless the
	// sender was kept from its core.
	floodLeast = 16
	// maxPoor is how many naps in a row bring fewer until it was none, and calmFor how
	// long there is none then.
	maxPoor = 4
	calmFor = 100 * time.Millisecond

	// lossEvery is how many datagrams are moved until it is looked how many were lost, and
	// shutFor how long the programs send by themselves where that is too many.
	lossEvery = 4096
	shutFor   = 2 * time.Second
)

// openRing has what a link sends in a flood come by the port's ring.
func (p *port) openRing(s *short) {
	if p.refused.has(DevRing) {
		return
	}
	err := p.makeRing(s.table)
	if err == nil {
		err = s.table.FloodBy(s.slot, p.floods)
	}
	if err != nil {
		p.refused.refuse(DevRing, err.Error())
		p.log.Info("offload is not used", zap.String("offload", devRingName), zap.Error(err))
	}
}

func (p *port) makeRing(table *shortcut.Table) error {
	if p.ring != nil {
		return nil
	}
	ring, err := table.OpenRing()
	if err != nil {
		return err
	}
	s := newRingSource(p, ring)
	if err := p.loop.addDozer(ring.FD(), s); err != nil {
		ring.Close()
		return err
	}
	p.loop.do(func() { p.ring, p.floods = s, ring })
	return nil
}

func newRingSource(p *port, r ring) *ringSource {
	return &ringSource{port: p, ring: r, links: map[int]*Link{}, batch: tap.NewBatch()}
}

// add and remove are called on the worker's thread.
func (s *ringSource) add(l *Link) {
	if s != nil && l.short != nil {
		s.links[l.short.slot.Index()] = l
	}
}

// remove is called when the link's device is gone: another link may have its slot next.
func (s *ringSource) remove(l *Link) {
	if s != nil && l.short != nil {
		delete(s.links, l.short.slot.Index())
		s.catchUp() // what it has left there is nobody's
	}
}

// read takes a batch of frames from the ring, once it is time.
func (s *ringSource) read() (busy bool, err error) {
	if s.ring.At() >= s.until {
		s.judge()
		if !s.due() {
			return false, nil
		}
	}
	n := s.take()
	s.number += n
	// Before what was read is moved, which takes time.
	s.waits = s.ring.At() == s.ring.End() && s.ring.Quiet() > nap/2
	return n > 0, nil
}

// judge looks at what a nap has brought. Few datagrams are poor, and those of which the
// last came long ago: its sender waits for something.
func (s *ringSource) judge() {
	if s.number == 0 {
		return
	}
	if s.napped && (s.number < floodLeast || s.waits) {
		s.poor++
	} else {
		s.poor = 0
	}
	if s.poor == maxPoor {
		s.ring.Calm(shortcut.Now() + uint64(calmFor))
		s.poor = 0
	}
	s.number, s.napped = 0, false
}

// judgeLoss looks at how many datagrams found no room. Where three in five do not, the
// sender, who is done with each sooner by about as much, had better send them by itself:
// those of many peers, that leave one by one, cost the worker more than the program.
func (s *ringSource) judgeLoss(moved int) {
	if s.since += uint64(moved); s.since < lossEvery {
		return
	}
	full := s.ring.Full()
	if 2*(full-s.full) > 3*s.since {
		s.ring.Shut(shortcut.Now() + uint64(shutFor))
	}
	s.since, s.full = 0, full
}

// due reports whether there is much in the ring, or something for long enough, and has
// all that be moved.
func (s *ringSource) due() bool {
	end := s.ring.End()
	waiting := end - s.ring.At()
	if waiting == 0 || waiting < napBytes && time.Since(began) < s.moved+nap {
		return false
	}
	s.until = end
	return true
}

// doze has the worker be woken by the first datagram, or in a flood when there are
// many.
func (s *ringSource) doze() (limit time.Duration) {
	bytes := uint64(1)
	s.napped = time.Since(began) < s.moved+2*nap
	if limit = -1; s.napped {
		bytes, limit = napBytes, nap
	}
	if !s.ring.Sleep(bytes) {
		return 0
	}
	return limit
}

func (s *ringSource) awake() { s.ring.Awake() }

// take moves frames from the ring to the batch, and returns how many there were.
func (s *ringSource) take() (n int) {
	s.batch.Reset()
	s.of = s.of[:0]
	for ; !s.batch.Full(); n++ {
		frame, slot, ok := s.ring.Next()
		if !ok {
			break
		}
		if l := s.links[slot]; l != nil {
			s.batch.Put(frame, l.device.Headroom())
			s.of = append(s.of, l)
		}
	}
	if n == 0 {
		s.ring.Release() // empty records, with which it was woken
	}
	s.judgeLoss(n)
	return n
}

// handle moves the batch to the sockets.
func (s *ringSource) handle() {
	p := s.port
	p.lookAtClock()
	s.moved = p.now
	for i, l := range s.of {
		l.prefetch(s.batch.Packets[i].Frame)
	}
	var o outgoing
	var before *Link
	for i, l := range s.of {
		if l != before {
			l.short.begin()
			before = l
		}
		o.Packet, o.datagram = &s.batch.Packets[i], s.batch.Datagram(i)
		l.counters.ringed.Add(1)
		l.sendDatagram(&o)
	}
	p.sender.Flush()
	s.ring.Release() // not sooner: from now on the flows may go past it
}

// sendDatagram queues what has come by the ring, as if it had come by the device.
func (l *Link) sendDatagram(o *outgoing) {
	if l.routed != nil {
		o.layout.ParsePacket(o.Frame)
	} else {
		o.layout.ParseFrame(o.Frame)
	}
	o.GSO = encap.DescribeSent(o.Frame, &o.layout)
	if l.routed != nil {
		l.route(o)
	} else {
		l.encapsulate(o)
	}
}

// catchUp moves all that has come so far. What comes by a device is younger than
// what of its flow is in the ring.
func (s *ringSource) catchUp() {
	if s == nil {
		return
	}
	for end := s.ring.End(); s.ring.At() < end; {
		// It may have to wait a moment for a program that is still writing.
		if s.take() > 0 {
			s.handle()
		}
	}
}

// lost is not called: a ring has no errors.
func (*ringSource) lost(error) {}
