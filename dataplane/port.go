package dataplane

import (
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/dataplane/internal/shortcut"
	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// port is one UDP port: its sockets, the links that share them, and the worker
// that moves their packets. Fields below the line are the worker's; the
// Dataplane changes them only through loop.do.
type port struct {
	owner   *Dataplane
	number  uint16
	log     *zap.Logger
	loop    *loop
	refused refusals
	pools   map[poolKey]*underlay.Pool
	v4, v6  *listener

	// ---- the worker's
	routes *underlay.Routes // nil where super-frames are not injected
	drops  dropCounters     // of datagrams whose link is not known
	sender *underlay.Sender
	ring   *ringSource           // nil without shortcuts
	floods *shortcut.Ring        // that it reads, or nil
	dirty  []*Link               // with frames to be written
	reply  [encap.TooBigLen]byte // a frame of weft's own
	now    time.Duration         // of the turn, since the process began
	tick   routetable.Tick       // the same

	telling  []*Link // with flows that programs were told of; the worker's
	renewing bool    // those are looked at now and then; the worker's
}

// listener is the receiving socket of one family and the links behind it.
type listener struct {
	*underlay.Receiver
	links map[uint32]*Link // by VNI; the worker's
	bare  *Link            // the only one, of bare IP packets, or nil; the worker's
	ipv6  bool
	gro   error // why UDP_GRO is not available

	queue *shortcut.Slot        // nil if nothing is received past it; the worker's
	taps  map[int]time.Duration // when to look whether a device has the program; the worker's

	unseen kernelDrops // of datagrams that never got here
}

// poolKey tells pools of sending sockets apart: links with the same range of
// source ports share one.
type poolKey struct {
	ipv6      bool
	low, high uint16
}

func newPort(d *Dataplane, number uint16) (*port, error) {
	p := &port{
		owner:  d,
		number: number,
		log:    d.log.With(zap.Uint16("port", number)),
		pools:  map[poolKey]*underlay.Pool{},
		sender: underlay.NewSender(),

		refused: d.refused(),
	}
	p.sender.OnNoGSO = func(err error) {
		p.log.Warn("UDP_SEGMENT is switched off: the kernel refused it", zap.Error(err))
	}
	p.sender.OnNoInjector = func(err error) {
		p.log.Warn("super-frames are cut before they are sent: the kernel refused some whole", zap.Error(err))
	}
	p.sender.NoGSO = p.refused.has(UDPGSO)
	for _, o := range offloadNames {
		if why := p.refused[o.offload]; why != "" {
			p.log.Info("offload is not used", zap.String("offload", o.name), zap.String("why", why))
		}
	}
	var err error
	p.loop, err = startLoop()
	return p, err
}

// listen returns the socket that a link receives by, opened if need be. Links
// of bare packets share theirs with nobody, so it is on their address alone.
func (p *port) listen(cfg *LinkConfig) (*listener, error) {
	ipv6, zeroChecksum := cfg.IPv6(), cfg.Checksum.AcceptRx6
	at := &p.v4
	if ipv6 {
		at = &p.v6
	}
	if *at != nil {
		return *at, p.checkZeroChecksum(*at, ipv6, zeroChecksum)
	}
	var local netip.Addr
	if cfg.Bare() {
		local = cfg.Local
	}
	r, err := underlay.ListenAt(ipv6, local, p.number)
	if err != nil {
		return nil, explainListen(cfg, err)
	}
	if ipv6 && zeroChecksum {
		if err := r.AcceptZeroChecksum(true); err != nil {
			r.Close()
			return nil, fmt.Errorf("udp6zerocsumrx: %w", err)
		}
	}
	p.sizeBuffer(r)
	*at = newListener(r, ipv6)
	return *at, p.serveSocket(*at)
}

func newListener(r *underlay.Receiver, ipv6 bool) *listener {
	return &listener{Receiver: r, ipv6: ipv6, links: map[uint32]*Link{}, unseen: watchDrops(r, ipv6)}
}

func (p *port) serveSocket(at *listener) error {
	return p.loop.add(at.FD(), &socketSource{port: p, from: at, queue: socketQueue{at: at}})
}

// checkZeroChecksum refuses a link that wants the shared socket otherwise, as
// the kernel does.
func (p *port) checkZeroChecksum(at *listener, ipv6, wanted bool) error {
	for _, l := range at.links {
		if ipv6 && l.Config().Checksum.AcceptRx6 != wanted {
			return fmt.Errorf("link %s shares UDP port %d and has udp6zerocsumrx %s: give both links the same", l.Name(), p.number, onOff(!wanted))
		}
	}
	return nil
}

// sizeBuffer makes the receive buffer as large as it may be, and says what to
// do where that is not much.
func (p *port) sizeBuffer(r *underlay.Receiver) {
	wanted := p.owner.ReceiveBuffer
	if wanted <= 0 {
		return
	}
	if got := r.SetReceiveBuffer(wanted); got < wanted {
		p.log.Warn("receive buffer is smaller than wanted, so bursts may be dropped (socket_full): raise "+bufferLimit,
			zap.Int("wanted", wanted), zap.Int("got", got))
	}
}

// addLink opens what the link needs and hands it to the worker.
func (p *port) addLink(r *resolved) (*Link, error) {
	from, err := p.listen(&r.cfg)
	if err != nil {
		return nil, err
	}
	pool, err := p.poolFor(r, from)
	if err != nil {
		return nil, err
	}
	device, attrs, err := openDevice(r)
	if err != nil {
		return nil, err
	}
	l := newLink(p, r, device, pool, p.openShort(r, attrs))
	l.attrs.Store(attrs)
	if err = l.openUnderlay(r); err == nil {
		err = p.attach(l, from)
	}
	if err != nil {
		l.closeUnderlay()
		l.short.close()
		device.Close()
		return nil, err
	}
	if !r.cfg.NoOffload && !r.cfg.Bare() {
		p.useTunnelGSO()
	}
	return l, nil
}

func newLink(p *port, r *resolved, device *tap.Device, pool *underlay.Pool, s *short) *Link {
	l := &Link{
		vni: r.cfg.VNI, ipv6: r.cfg.IPv6(), device: device, port: p, pool: pool,
		stop: make(chan struct{}), aged: make(chan struct{}, 1),
		head: encap.EtherHeaderLen, outer: r.cfg.overhead(), short: s,
	}
	if r.cfg.Routed() {
		l.routed = newRouted(r, s)
	} else {
		l.fdb = newFDB(&r.cfg, s.changes())
	}
	if r.cfg.Bare() {
		l.head = 0
	}
	if r.cfg.Proxy {
		l.neighbours = newNeighbours()
	}
	l.set.Store(newSettings(l, &r.cfg, r.devIndex))
	device.Restrict(!p.refused.has(DevGSO), !p.refused.has(DevUSO))
	offers := device.Offloads()
	l.joined.TCP, l.joined.UDP = offers.TCP, offers.UDP
	device.OnDowngrade = func(err error) {
		l.joined.TCP, l.joined.UDP = false, false
		p.log.Warn("super-frames are cut before they are written: the device refused one", zap.String("link", r.cfg.Name), zap.Error(err))
	}
	return l
}

// openUnderlay opens what a link has of its own beside the port's sockets.
func (l *Link) openUnderlay(r *resolved) (err error) {
	if l.path, err = underlay.OpenPathMTU(l.ipv6, r.cfg.Local); err != nil {
		l.port.log.Info("the MTU of paths is not known: senders are not told of packets that are too big", zap.String("link", r.cfg.Name), zap.Error(err))
		l.path = nil
	}
	if group, ok := r.cfg.Group(); ok {
		l.group, err = underlay.OpenMembership(group, r.devIndex)
		return err
	}
	return nil
}

func (l *Link) closeUnderlay() {
	if l.path != nil {
		l.path.Close()
	}
	if l.group != nil {
		l.group.Close() // leaves the group too
	}
}

// attach lets the worker serve the link.
func (p *port) attach(l *Link, from *listener) error {
	if err := p.loop.add(l.device.FD(), l.source(p.loop.deviceBatch())); err != nil {
		return err
	}
	p.loop.do(func() {
		from.links[l.vni] = l
		from.listenShort(l.short)
		p.ring.add(l)
		if l.set.Load().cfg.Bare() {
			from.bare = l
		}
	})
	p.setGRO(from)
	return nil
}

// source is the link's device as the loop serves it.
func (l *Link) source(batch *tap.Batch) source {
	s := deviceSource{link: l, batch: batch, queue: deviceQueue{link: l}}
	if l.routed != nil {
		return &routedSource{s}
	}
	return &s
}

// removeLink takes the link from the worker and deletes its device.
func (p *port) removeLink(l *Link) error {
	from := p.v4
	if l.ipv6 {
		from = p.v6
	}
	close(l.stop)
	var err error
	p.loop.do(func() {
		delete(from.links, l.vni)
		p.stopRenewing(l)
		from.bare = nil
		p.loop.remove(l.device.FD())
		err = l.device.Close()
		p.ring.remove(l)
		if l.routed != nil {
			l.routed.unreachable.own.close()
		}
	})
	l.short.close()
	l.changing.Lock()
	defer l.changing.Unlock()
	l.closeUnderlay()
	p.setGRO(from)
	return err
}

// setGRO has the kernel join datagrams as long as some link wants that.
func (p *port) setGRO(from *listener) {
	wanted := false
	for _, l := range from.links {
		wanted = wanted || !l.Config().NoOffload && !p.refused.has(UDPGRO)
	}
	if err := from.SetGRO(wanted); err != nil && wanted && from.gro == nil {
		from.gro = err
		p.log.Info("UDP_GRO is not available", zap.Error(err))
	}
}

// poolFor returns the sockets that a link sends by. Peers of flannel's udp
// backend have one port for everything.
func (p *port) poolFor(r *resolved, from *listener) (*underlay.Pool, error) {
	if r.cfg.Bare() {
		return underlay.PoolOf(from.Socket), nil
	}
	return p.pool(poolKey{r.cfg.IPv6(), r.srcLow, r.srcHigh}, from)
}

// pool returns the sending sockets for a range of source ports.
func (p *port) pool(key poolKey, from *listener) (*underlay.Pool, error) {
	if have := p.pools[key]; have != nil {
		return have, nil
	}
	pool, err := underlay.OpenPool(key.ipv6, key.low, key.high, from.Socket)
	if err != nil {
		return nil, fmt.Errorf("srcport: %w", err)
	}
	p.pools[key] = pool
	return pool, nil
}

// release closes the sockets of each family that no link uses any more, and
// reports whether none is left.
func (p *port) release() (idle bool) {
	for _, at := range []**listener{&p.v4, &p.v6} {
		if *at != nil && len((*at).links) == 0 {
			p.closeListener(*at)
			*at = nil
		}
	}
	return p.v4 == nil && p.v6 == nil
}

func (p *port) closeListener(at *listener) {
	p.loop.do(func() { p.loop.remove(at.FD()) })
	for key, pool := range p.pools {
		if key.ipv6 == (at == p.v6) {
			pool.Close(at.Socket)
			delete(p.pools, key)
		}
	}
	if at.queue != nil {
		p.owner.shortcuts.table.Free(at.queue)
	}
	at.unseen.close()
	at.Close()
}

// close stops the worker of a port without sockets.
func (p *port) close() {
	p.loop.close()
	p.floods.Close()
	if p.routes != nil {
		p.routes.Close()
	}
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// began is when the process did: what times are counted from.
var began = time.Now()

// clock is the time since then, for tables that are not the worker's own.
func clock() routetable.Tick { return routetable.TickOf(time.Since(began)) }

// lookAtClock reads the time once for a whole turn of the worker.
func (p *port) lookAtClock() {
	p.now = time.Since(began)
	p.tick = routetable.TickOf(p.now)
}
