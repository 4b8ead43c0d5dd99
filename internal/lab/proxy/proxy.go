//go:build linux

// Package proxy does on a host of the lab what flannel's proxy does for a network of
// type udp, and knows nothing of wefts. It notes what it gets.
package proxy

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/songgao/water"

	"github.com/weftnet/weft/internal/lab"
)

// Port is flannel's, on every node.
const Port = 8285

// Proxy carries packets between a TUN device and a UDP socket. The device does
// nothing for it: what it reads and writes is finished, and of the MTU at most.
type Proxy struct {
	mtu    int
	device *water.Interface
	socket *net.UDPConn
	ended  sync.WaitGroup

	mu     sync.Mutex
	routes []route
	seen   Seen
}

// Config is what flannel tells its proxy.
type Config struct {
	Device string // the name of the TUN device, which is made
	MTU    int    // of the device
	Local  netip.Addr
}

// route is the node that has a subnet.
type route struct {
	subnet netip.Prefix
	node   netip.Addr
}

// New starts a proxy in a host. Its device is down and has no address.
func New(h *lab.Host, c Config) (*Proxy, error) {
	p := &Proxy{mtu: c.MTU}
	err := errors.Join(h.Do(func() error { return p.open(c) }), h.SetMTU(c.Device, c.MTU))
	if err != nil {
		p.Close()
		return nil, err
	}
	p.ended.Go(p.in)
	p.ended.Go(p.out)
	return p, nil
}

func (p *Proxy) open(c Config) (err error) {
	tun := water.Config{DeviceType: water.TUN}
	tun.Name = c.Device
	if p.device, err = water.New(tun); err != nil {
		return err
	}
	if p.socket, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.Local, Port))); err != nil {
		return err
	}
	return p.socket.SetReadBuffer(4 << 20)
}

// Close ends the proxy, and with it its device.
func (p *Proxy) Close() {
	if p.socket != nil {
		_ = p.socket.Close()
	}
	if p.device != nil {
		_ = p.device.Close()
	}
	p.ended.Wait()
}

// Route has packets to a subnet go to a node.
func (p *Proxy) Route(subnet netip.Prefix, node netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.routes = append(p.routes, route{subnet, node})
}

// next is the node that a packet is for, by the first route that fits, as in
// flannel: subnets are apart from each other.
func (p *Proxy) next(packet []byte) (node netip.Addr, ok bool) {
	to := destination(packet)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.routes {
		if r.subnet.Contains(to) {
			return r.node, true
		}
	}
	return netip.Addr{}, false
}

// in carries what the socket receives, with what lies behind the packet as far as
// there is room.
func (p *Proxy) in() {
	for b := make([]byte, 1<<16); ; {
		n, err := p.socket.Read(b)
		if err != nil {
			return
		}
		p.note(b[:n])
		if packet := b[:min(n, p.mtu)]; hop(packet) {
			_, _ = p.device.Write(packet)
		}
	}
}

// out carries what the device sends.
func (p *Proxy) out() {
	for b := make([]byte, p.mtu); ; {
		n, err := p.device.Read(b)
		if err != nil {
			return
		}
		if node, ok := p.next(b[:n]); ok && hop(b[:n]) {
			_, _ = p.socket.WriteToUDPAddrPort(b[:n], netip.AddrPortFrom(node, Port))
		}
	}
}
