//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Port is where a wire ends: a host, and the interface it gets there.
type Port struct {
	Host  *Host
	Dev   string           // "" = eth0
	Addrs []netip.Prefix   // given to the interface, IPv4 and IPv6
	MTU   int              // 0 = 1500
	MAC   net.HardwareAddr // nil = the kernel chooses
}

func (p Port) dev() string {
	if p.Dev == "" {
		return "eth0"
	}
	return p.Dev
}

func (p Port) mtu() int {
	if p.MTU == 0 {
		return 1500
	}
	return p.MTU
}

// Connect lays a wire, a veth pair, between two hosts, and brings both ends
// up. It goes when either host is closed or either end is deleted.
func Connect(a, b Port) error {
	veth := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: a.dev(), MTU: a.mtu(), HardwareAddr: a.MAC, TxQLen: -1},
		PeerName:         b.dev(),
		PeerMTU:          uint32(b.mtu()),
		PeerHardwareAddr: b.MAC,
		PeerNamespace:    netlink.NsFd(b.Host.NetNS()),
	}
	if err := a.Host.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("wire from %s %s to %s %s: %w", a.Host.Name, a.dev(), b.Host.Name, b.dev(), err)
	}
	for _, step := range []func(Port) error{Port.bringUp, Port.settle} {
		if err := errors.Join(step(a), step(b)); err != nil {
			return err
		}
	}
	return nil
}

func (p Port) bringUp() error { return p.Host.SetUp(p.dev()) }

// settle completes a port once both ends of its wire are up.
func (p Port) settle() error {
	if err := p.Host.awaitCarrier(p.dev()); err != nil {
		return err
	}
	for _, addr := range p.Addrs {
		if err := p.Host.AddAddr(p.dev(), addr); err != nil {
			return err
		}
	}
	return nil
}

// Switch joins any number of hosts to one Ethernet segment: a bridge in a
// namespace of its own.
type Switch struct {
	host  *Host
	ports int
}

const bridgeName = "br0"

// NewSwitch makes a switch and plugs the ports in. It floods multicast (no
// snooping).
func NewSwitch(ports ...Port) (*Switch, error) {
	h, err := NewHost("switch")
	if err != nil {
		return nil, err
	}
	s := &Switch{host: h}
	if err := s.build(ports); err != nil {
		_ = h.Close()
		return nil, err
	}
	return s, nil
}

func (s *Switch) build(ports []Port) error {
	if err := s.host.AddBridge(bridgeName); err != nil {
		return err
	}
	for _, p := range ports {
		if err := s.Plug(p); err != nil {
			return err
		}
	}
	return nil
}

// Plug connects one more host to the switch.
func (s *Switch) Plug(p Port) error {
	socket := Port{Host: s.host, Dev: fmt.Sprintf("port%d", s.ports), MTU: p.MTU}
	s.ports++
	if err := Connect(socket, p); err != nil {
		return err
	}
	return s.host.SetMaster(bridgeName, socket.Dev)
}

// Host is the switch itself, to capture on its bridge or its ports "port0",
// "port1", … in the order of plugging in.
func (s *Switch) Host() *Host { return s.host }

// Close removes the switch and with it the wires to it.
func (s *Switch) Close() error { return s.host.Close() }

// The underlay addresses of a Pair: those of the tutorial whose link weft
// must be able to stand in for, and IPv6 ones like them.
var (
	PairA4 = netip.MustParsePrefix("10.211.55.11/24")
	PairB4 = netip.MustParsePrefix("10.211.55.12/24")
	PairA6 = netip.MustParsePrefix("fd00:211:55::11/64")
	PairB6 = netip.MustParsePrefix("fd00:211:55::12/64")
)

// Pair joins two hosts by a wire, eth0 at both ends, and gives them the
// addresses PairA4, PairA6 and PairB4, PairB6.
func Pair(a, b *Host) error {
	return Connect(
		Port{Host: a, Addrs: []netip.Prefix{PairA4, PairA6}},
		Port{Host: b, Addrs: []netip.Prefix{PairB4, PairB6}},
	)
}
