package dataplane

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/weftnet/weft/routetable"
)

// Dataplane holds the links of one network namespace, and the ports and
// workers that they share.
type Dataplane struct {
	// ReceiveBuffer is the size in bytes that is asked for each receiving
	// socket; 0 leaves the system's default. It counts for ports opened later.
	ReceiveBuffer int

	// Without are offloads that are not used although the kernel has them, and
	// Anyway such that are used although this kernel is known to have them
	// broken. They count for links and ports opened later.
	Without, Anyway Offloads

	log  *zap.Logger
	gone chan *Link

	mu     sync.Mutex
	links  []*Link
	ports  map[uint16]*port
	tunnel tunnelGSO

	shortcuts shortcuts
	watchers  watchers
}

// refused says which offloads are not to be used, and why.
func (d *Dataplane) refused() refusals {
	r := refusals{}
	r.refuse(d.Without, "switched off for this daemon")
	for o, why := range brokenOffloads(kernelRelease()) {
		if d.Anyway&o == 0 {
			r.refuse(o, why)
		}
	}
	return r
}

// defaultReceiveBuffer absorbs what arrives while a batch is worked on: 60 KB
// super-frames of some hundred flows.
const defaultReceiveBuffer = 32 << 20

// New returns a Dataplane without links. Its methods must be called on threads
// that are in the namespace whose underlay it serves.
func New(log *zap.Logger) *Dataplane {
	return &Dataplane{
		ReceiveBuffer: defaultReceiveBuffer,
		log:           log,
		gone:          make(chan *Link, 64),
		ports:         map[uint16]*port{},
	}
}

// AddLink creates the device and holds the UDP port, or fails and leaves
// nothing behind.
func (d *Dataplane) AddLink(cfg LinkConfig) (*Link, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := resolve(cfg)
	if err != nil {
		return nil, err
	}
	if err := d.checkFree(&r.cfg); err != nil {
		return nil, err
	}
	p, err := d.portFor(r.cfg.Port)
	if err != nil {
		return nil, err
	}
	l, err := p.addLink(r)
	if err != nil {
		d.releasePort(p)
		return nil, err
	}
	d.links = append(d.links, l)
	d.watchers.adopt(l)
	l.start(d.log)
	return l, nil
}

// checkFree refuses what the links that exist already have.
func (d *Dataplane) checkFree(cfg *LinkConfig) error {
	for _, l := range d.links {
		if have := l.Config(); l.port.number == cfg.Port && (cfg.Bare() || have.Bare()) {
			return fmt.Errorf("UDP port %d is taken by link %s: a link of type udp has its port to itself: choose another port", cfg.Port, l.Name())
		}
		if l.vni == cfg.VNI && l.port.number == cfg.Port && l.ipv6 == cfg.IPv6() {
			return fmt.Errorf("VNI %d on port %d is taken by link %s: choose another id or dstport", cfg.VNI, cfg.Port, l.Name())
		}
	}
	return nil
}

// portFor returns the port with this number, opened if need be.
func (d *Dataplane) portFor(number uint16) (*port, error) {
	if p := d.ports[number]; p != nil {
		return p, nil
	}
	makeRoomFor(len(d.ports) + 1) // before its thread is there: see longestSleep
	p, err := newPort(d, number)
	if err != nil {
		return nil, err
	}
	d.ports[number] = p
	return p, nil
}

// releasePort closes what no link uses any more.
func (d *Dataplane) releasePort(p *port) {
	if p.release() {
		p.close()
		delete(d.ports, p.number)
		if len(d.ports) == 0 {
			d.tunnel.close()
			d.shortcuts.close()
		}
	}
}

// RemoveLink deletes the link's device, and frees its UDP port if it was the
// last link there.
func (d *Dataplane) RemoveLink(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.links {
		if l.Name() == name {
			return d.remove(l)
		}
	}
	return fmt.Errorf("there is no link %q", name)
}

func (d *Dataplane) remove(l *Link) error {
	d.links = slices.DeleteFunc(d.links, func(have *Link) bool { return have == l })
	err := l.port.removeLink(l)
	if l.fdb != nil {
		l.fdb.Flush(routetable.Filter{})
	}
	d.watchers.release(l)
	d.releasePort(l.port)
	return err
}

// deviceGone is called once when the worker finds that a device was deleted.
func (d *Dataplane) deviceGone(l *Link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.links, l) {
		return
	}
	if err := d.remove(l); err != nil {
		d.log.Warn("link was deleted, but not everything could be released", zap.String("link", l.Name()), zap.Error(err))
	}
	select {
	case d.gone <- l:
	default: // nobody listens
	}
}

// Gone delivers each link whose device was deleted by somebody else, after its
// port has been released.
func (d *Dataplane) Gone() <-chan *Link { return d.gone }

// Links returns the links in the order in which they were added.
func (d *Dataplane) Links() []*Link {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.links)
}

// Link returns the link whose device has this name now, or nil.
func (d *Dataplane) Link(name string) *Link {
	for _, l := range d.Links() {
		if l.Name() == name {
			return l
		}
	}
	return nil
}

// Close removes all links.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, l := range slices.Clone(d.links) {
		errs = append(errs, d.remove(l))
	}
	return errors.Join(errs...)
}
