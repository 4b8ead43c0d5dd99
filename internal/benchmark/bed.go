//go:build linux

package benchmark

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/weftnet/weft/internal/flannelnode"
	"github.com/weftnet/weft/internal/lab"
)

// Bed is two hosts on one wire, and the ways laid between them.
type Bed struct {
	mode  Mode
	a, b  *lab.Host
	hosts []*lab.Host         // to be closed
	nodes []*flannelnode.Node // to be ended before
	ways  []*Way
}

// Way is a path that was laid: what From's host sends to To's address takes it.
type Way struct {
	Path     Path
	From, To End
}

// End is one end of a way.
type End struct {
	Host *lab.Host
	Addr netip.Addr
	link *weftLink // nil where the end is not weft's

	stations []netip.Addr // if datagrams go to one after the other
}

// NewBed lays the wire.
func NewBed(m Mode) (*Bed, error) {
	b := &Bed{mode: m}
	err := b.build()
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bed) build() (err error) {
	if b.a, err = b.newHost("a"); err != nil {
		return err
	}
	if b.b, err = b.newHost("b"); err != nil {
		return err
	}
	return b.wire(b.a, b.b)
}

// newHost makes a host that is closed with the bed.
func (b *Bed) newHost(name string) (*lab.Host, error) {
	h, err := lab.NewHost(name)
	if err != nil {
		return nil, err
	}
	b.hosts = append(b.hosts, h)
	// A connection must not begin with what the one before it had learnt of the
	// path, which was another's. Not every kernel lets a namespace choose.
	_ = h.Sysctl("net.ipv4.tcp_no_metrics_save", "1")
	return h, nil
}

// Lay makes a path between the hosts and sees that it carries packets both
// ways. A path that is there already is not laid again.
func (b *Bed) Lay(p Path) (*Way, error) {
	for _, w := range b.ways {
		if w.Path.Name == p.Name {
			return w, nil
		}
	}
	w := &Way{Path: p}
	b.ways = append(b.ways, w)
	var err error
	if w.From, w.To, err = p.lay(b, &p, byte(len(b.ways))); err == nil {
		err = w.From.Host.Ping(w.To.Addr, lab.PingOptions{Count: 3}).Lost()
	}
	if err != nil {
		return nil, fmt.Errorf("laying path %s: %w", p.Name, err)
	}
	return w, nil
}

// layVXLAN gives both hosts an end of a VXLAN link.
func (b *Bed) layVXLAN(number byte, add func(*lab.Host, *lab.VXLAN, []netip.Prefix) (*weftLink, error)) (from, to End, err error) {
	return b.layEnds(number, func(h *lab.Host, v *lab.VXLAN, addr netip.Prefix) (*weftLink, error) {
		return add(h, v, []netip.Prefix{addr})
	})
}

// layEnds has add give both hosts an end of a link. Each link has a port of its
// own, and so in weft a worker of its own.
func (b *Bed) layEnds(number byte, add func(*lab.Host, *lab.VXLAN, netip.Prefix) (*weftLink, error)) (from, to End, err error) {
	end := func(h *lab.Host, host byte, local, remote netip.Addr) (End, error) {
		v := &lab.VXLAN{Name: fmt.Sprintf("link%d", number), ID: uint32(number), Port: 4788 + uint16(number), Local: local, Remote: remote, Dev: "eth0"}
		addr := netip.AddrFrom4([4]byte{10, 20, number, host})
		link, err := add(h, v, netip.PrefixFrom(addr, 24))
		return End{Host: h, Addr: addr, link: link}, err
	}
	if from, err = end(b.a, 2, lab.PairA4.Addr(), lab.PairB4.Addr()); err != nil {
		return from, to, err
	}
	to, err = end(b.b, 3, lab.PairB4.Addr(), lab.PairA4.Addr())
	return from, to, err
}

// Close takes everything away: agents, and weft's links, first, so that its
// daemons end by themselves.
func (b *Bed) Close() error {
	var errs []error
	for _, n := range b.nodes {
		errs = append(errs, n.End())
	}
	for _, w := range b.ways {
		for _, e := range []End{w.From, w.To} {
			if e.link != nil {
				_ = e.link.weft.Host.Delete(e.link.name) // it may not have come to that, or be gone
			}
		}
	}
	for _, h := range b.hosts {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}
