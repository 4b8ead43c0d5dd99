package dataplane

import (
	"encoding/binary"
	"io"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// shortcuts is the table of the flows that the kernel carries by itself, of one
// namespace. It is there as long as a port is that has a link with offloads.
type shortcuts struct {
	table *shortcut.Table // nil without
	why   string          // there is none; "" before it was asked for
}

// open asks the system once.
func (t *shortcuts) open(log *zap.Logger) {
	if t.table != nil || t.why != "" {
		return
	}
	table, err := shortcut.Open(func(l shortcut.Lack) { logLack(log, l) })
	if err != nil {
		t.why = err.Error()
		log.Info("offload is not used", zap.String("offload", shortcutTxName+", "+shortcutRxName), zap.String("why", t.why))
		return
	}
	t.table = table
}

// logLack says what is slower without a private device, or that it no more is.
func logLack(log *zap.Logger, l shortcut.Lack) {
	log = log.With(zap.String("device", l.Device))
	switch {
	case l.Why == "":
		log.Info("a private device is used again")
	case l.Remedy == "":
		log.Info("a private device is not used", zap.String("why", l.Why), zap.String("slower", l.Slower))
	default:
		log.Warn("a private device is not used", zap.String("why", l.Why), zap.String("slower", l.Slower), zap.String("remedy", l.Remedy))
	}
}

// close takes the programs off. No port may use it any more.
func (t *shortcuts) close() {
	if t.table != nil {
		t.table.Close()
	}
	*t = shortcuts{}
}

// short is a link's part of them. Fields below the line are the worker's.
type short struct {
	table   *shortcut.Table
	slot    *shortcut.Slot
	program io.Closer // on what the device sends; nil without
	home    uint64    // namespace that the device was made in
	rx      bool

	// ----
	version  uint64 // of the slot's changes, from before the turn's first lookup
	flows    busyTable
	stations busyTable
	told     []told
	refused  map[netip.Addr]time.Duration // remotes that a firewall keeps from, and until when that counts
}

// openShort returns a link's part in shortcuts, or nil if it has none.
func (p *port) openShort(r *resolved, attrs *attributes) *short {
	t := &p.owner.shortcuts
	tx, rx := !p.refused.has(ShortcutTx), !p.refused.has(ShortcutRx)
	if r.cfg.NoOffload || !tx && !rx {
		return nil
	}
	if t.open(p.log); t.table == nil {
		p.refused.refuse(ShortcutTx|ShortcutRx, t.why)
		return nil
	}
	slot := t.table.Slot()
	if slot == nil {
		return nil // more links than anybody has
	}
	s := &short{table: t.table, slot: slot, home: attrs.netns, rx: rx}
	s.flows.renews, s.stations.renews = true, true
	if tx {
		s.program = p.sendShort(s, attrs.index, r.cfg.carries())
	}
	return s
}

// sendShort puts the program on what the link's device sends.
func (p *port) sendShort(s *short, device int, kind shortcut.Kind) io.Closer {
	err := p.openRoutes()
	var program io.Closer
	if err == nil {
		program, err = s.table.SendBy(device, kind)
	}
	if err != nil {
		p.refused.refuse(ShortcutTx, err.Error())
		return nil
	}
	p.openRing(s)
	return program
}

// listenShort has the listener note when its queue was empty, for a link whose
// packets may be received past it. It is called on the worker's thread.
func (at *listener) listenShort(s *short) {
	if s == nil || !s.rx || at.queue != nil || at.TellDestination() != nil {
		return
	}
	at.queue, at.taps = s.table.Slot(), map[int]time.Duration{}
}

// close leaves all flows to the process.
func (s *short) close() {
	if s == nil {
		return
	}
	if s.program != nil {
		s.program.Close()
	}
	s.table.Free(s.slot)
}

// changed has everything that was told of the link not hold any more.
func (s *short) changed() {
	if s != nil {
		s.slot.Changes().Add(1)
	}
}

// changes is what a table counts its changes by; nil if nobody wants to know.
func (s *short) changes() *atomic.Uint64 {
	if s == nil {
		return nil
	}
	return s.slot.Changes()
}

// begin notes what changes there have been, before a turn of the link looks
// anything up.
func (s *short) begin() {
	if s != nil {
		s.version = s.slot.Changes().Load()
	}
}

// busyTable finds flows that have many frames, by a hash of each. One is in any
// of four places, in that of the one whose time is over first.
type busyTable struct {
	rows   [512][4]busy
	renews bool // a flow that was told of is told of again with its first frame after that
}

type busy struct {
	hash    uint32
	frames  uint32
	until   time.Duration // the frames count for so long, or what was told holds; 0 is nobody's place
	version uint64        // it was told with; 0 if it was not
}

// busyFrames is how many frames a flow has to have within shortcut.Lease before
// a program is told of it.
const busyFrames = 16

// more counts frames of a flow and reports whether a program is to be told of it
// now.
func (t *busyTable) more(hash, frames uint32, now time.Duration, version uint64) bool {
	b := t.of(hash)
	if b.hash != hash || now >= b.until {
		if t.renews && b.hash == hash && b.version != 0 && now < b.until+shortcut.Lease {
			frames = busyFrames
		}
		*b = busy{hash: hash, until: now + shortcut.Lease}
	}
	b.frames += frames
	if b.frames < busyFrames || b.version == version+1 {
		return false
	}
	b.version, b.until = version+1, now+shortcut.Lease
	return true
}

// again has the next frame of a flow, of which the program could not be told yet, ask for
// that once more.
func (t *busyTable) again(hash uint32) {
	if b := t.of(hash); b.hash == hash {
		b.version = 0
	}
}

// renewed has what was told of a flow hold for a lease from now on.
func (t *busyTable) renewed(hash uint32, now time.Duration) {
	if b := t.of(hash); b.hash == hash {
		b.until = now + shortcut.Lease
	}
}

// of returns the place that a flow has or may have.
func (t *busyTable) of(hash uint32) *busy {
	row := &t.rows[(hash^hash>>16)%uint32(len(t.rows))]
	place := &row[0]
	for i := range row {
		if row[i].hash == hash && row[i].until != 0 {
			return &row[i]
		}
		if row[i].until < place.until {
			place = &row[i]
		}
	}
	return place
}

// sentTo tells the program of the flow of a frame that is being sent to r alone,
// if it is a busy one.
func (l *Link) sentTo(o *outgoing, r *routetable.Remote) {
	s, p, cfg := l.short, l.port, &o.settings.cfg
	if s == nil || s.program == nil || o.layout.L4 == 0 || o.layout.Tags > 0 || !cfg.Local.IsValid() && r.Addr.IsLinkLocalUnicast() {
		return
	}
	weight := uint32(1)
	if o.GSO.Type != encap.GSONone {
		weight = busyFrames / 2
	}
	if !s.flows.more(o.hash, weight, p.now, s.version) || r.Addr.IsMulticast() || l.path == nil {
		return
	}
	device, ok := s.deviceOf(l)
	if !ok {
		return
	}
	via := p.routes.Of(r.Addr, cfg.Local, r.IfIndex, p.now)
	mtu := l.path.Of(r.Addr, r.IfIndex, p.now)
	if via.Refused != "" || mtu == 0 || p.now < s.refused[r.Addr] {
		return
	}
	flow := o.flow
	flow.Local = cfg.Local // a socket may have it, and the flow not
	grant, ok := s.table.Send(&shortcut.Send{
		Kind: cfg.carries(), Frame: o.Frame, Device: device, Link: s.slot, Version: s.version,
		Outer: underlay.Headers(&flow, via, r.VNI), MTU: mtu, IfIndex: via.IfIndex, NextHop: via.NextHop,
		NoCsum: o.flow.NoCsum, Ring: p.floods,
		// Where the kernel cuts super-frames, each datagram is to have its own.
		Csum: cfg.Checksum.UDP || via.Uncut != "",
	})
	if ok {
		l.remember(told{grant: grant, hash: o.hash, sent: &sentFlow{macAt(o.Frame, 0), r.Addr, cfg.Local, r.IfIndex, *via, mtu}})
	}
}

// heardFrom tells the program of the station that a frame came from, if it is a
// busy one and that is due. It reports whether it did.
func (l *Link) heardFrom(source routetable.MAC, r *underlay.Datagram, at *listener) bool {
	s, p := l.short, l.port
	if s == nil || !s.rx || at.queue == nil || r.Segment > 0 || !r.To.IsValid() || r.To.IsMulticast() || r.From.IsLinkLocalUnicast() || r.Device == loopback {
		return false
	}
	hash := stationHash(source, r.From, r.To)
	if !s.stations.more(hash, 1, p.now, s.version) {
		return false
	}
	device, ok := s.deviceOf(l)
	if !ok {
		return false
	}
	at.tap(r.Device, s.table, p)
	set := l.set.Load()
	grant, ok := s.table.Receive(&shortcut.Receive{
		Kind: set.cfg.carries(), From: r.From, To: r.To, Port: p.number, VNI: l.vni, Source: source, Under: r.Device,
		Device: device, MAC: l.mac(), Link: s.slot, Version: s.version, Queue: at.queue,
	})
	if !ok {
		s.stations.again(hash)
	} else {
		learning := l.routed == nil && !set.cfg.NoLearning && l.attrs.Load().up
		l.remember(told{grant: grant, hash: hash, station: station{source, r.From, r.IfIndex, learning}})
	}
	return ok
}

// carries is what the kernel is told of the link's device.
func (c *LinkConfig) carries() shortcut.Kind {
	switch {
	case c.Bare():
		return shortcut.Bare
	case c.L3:
		return shortcut.Routed
	}
	return shortcut.Framed
}

// mac is the address that frames for the link have, none with bare packets.
func (l *Link) mac() routetable.MAC {
	if l.routed != nil {
		return l.routed.mac
	}
	return l.attrs.Load().mac
}

// deviceOf is the index of the link's device, false while it is away from home.
// A device that was away may come back with another, and its former one be
// somebody else's.
func (s *short) deviceOf(l *Link) (index int, ok bool) {
	attrs := l.attrs.Load()
	return attrs.index, attrs.netns == s.home
}

// tap sees that the program is on what an underlay device receives, now and then
// again: a device may have come in the place of another. It takes the kernel's
// lock for changes to devices, which others may hold for long. Nothing is told until it is
// done.
func (at *listener) tap(device int, table *shortcut.Table, p *port) {
	if p.now < at.taps[device] {
		return
	}
	at.taps[device] = p.now + tapAgain
	go func() {
		if err := table.ReceiveBy(device); err != nil {
			p.log.Warn("packets are not received past the sockets", zap.Int("ifindex", device), zap.Error(err))
		}
	}()
}

const tapAgain = 10 * time.Second

// loopback is the index of the device `lo`, in every namespace.
const loopback = 1

// stationHash tells stations apart, and the addresses here that one sends to.
func stationHash(source routetable.MAC, from, to netip.Addr) uint32 {
	h := uint64(binary.LittleEndian.Uint32(source[2:]))
	for _, addr := range [...]netip.Addr{from, to} {
		a := addr.As16()
		h ^= binary.LittleEndian.Uint64(a[:]) ^ binary.LittleEndian.Uint64(a[8:])
		high, low := bits.Mul64(h, 0x9e3779b97f4a7c15) // Fibonacci hashing
		h = high ^ low
	}
	return uint32(h)
}
