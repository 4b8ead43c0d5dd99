package nodes

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// A service's backend goes from one node to another, as kube-proxy does it: first the
// rule, then what conntrack knows. Flows that go to the former one meanwhile are
// carried past weft's process. They go on, until conntrack forgets them; new
// connections go to the new one, and so does the next datagram of a forgotten
// flow, which differs from the last in nothing but where it goes. Nothing of
// these comes to the former node.
func TestServiceMoved(t *testing.T) {
	t.Parallel()
	lab.NeedNFTables(t)
	for name, c := range map[string]struct{ config, device string }{"vxlan": {overVXLAN, "flannel.1"}, "udp": {overUDP, "flannel0"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMoving(t, c.config, c.device)
			eventually(t, func() error { return m.talk(100, m.backends[0]).mostly() })

			known, former := m.backends[0].known(), m.watch()
			m.front().serve(service, m.backends[1].at)
			eventually(t, func() error {
				var past passed
				for range 5 {
					past = past.add(m.talk(20, m.backends[0]))
					m.meetNew()
				}
				return past.mostly()
			})
			m.checkArrivals(former, known)

			former = m.watch()
			m.forget()
			m.talk(100, m.backends[1])
			m.meetNew()
			m.checkArrivals(former, nil)
		})
	}
}

// moving is a node that has a service, and two others with a backend each.
type moving struct {
	*network
	device   string
	clients  []*lab.Host // the first node and its container
	backends [2]*backend
	talks    []*net.UDPConn // of each client
}

const movedPort = 5300

func newMoving(t *testing.T, config, device string) *moving {
	t.Helper()
	m := &moving{network: newNetwork(t, 3), device: device}
	for i, n := range m.nodes {
		n.dockerTables()
		n.start("--ip-masq", "--datapath=user")
		if i == 0 {
			m.configure(config)
		}
	}
	for i, n := range m.nodes {
		n.ready()
		c, at := n.container()
		if i == 0 {
			m.clients = []*lab.Host{n.Host, c}
		} else {
			m.backends[i-1] = newBackend(t, c, at)
		}
	}
	for _, b := range m.backends {
		eventually(t, func() error { return m.clients[1].Ping(b.at, lab.PingOptions{}).Lost() })
	}
	check(t, m.front().AddRoute(netip.PrefixFrom(service, 32), "eth0", netip.MustParseAddr("10.4.7.1")))
	m.front().serve(service, m.backends[0].at)
	for _, c := range m.clients {
		m.talks = append(m.talks, m.dial(c, "udp").(*net.UDPConn))
	}
	return m
}

// front is the node that has the service.
func (m *moving) front() *node { return m.nodes[0] }

func (m *moving) dial(from *lab.Host, network string) (conn net.Conn) {
	m.t.Helper()
	check(m.t, from.Do(func() (err error) {
		conn, err = net.DialTimeout(network, netip.AddrPortFrom(service, movedPort).String(), soon)
		return err
	}))
	m.t.Cleanup(func() { conn.Close() })
	return conn
}

// talk has each client send so many datagrams, each when the one before is answered,
// and wants the answers of a backend. It returns what of them the kernel has carried.
func (m *moving) talk(count int, b *backend) passed {
	m.t.Helper()
	before := m.front().short(m.device)
	for _, c := range m.talks {
		for range count {
			m.wants(c, b)
		}
	}
	return passed{m.front().short(m.device).since(before), uint64(count * len(m.talks))}
}

// passed is what the kernel has carried of some packets each way.
type passed struct {
	short
	of uint64
}

func (p passed) add(q passed) passed {
	return passed{short{p.out + q.out, p.in + q.in}, p.of + q.of}
}

// mostly wants it to have carried most of them, where it can.
func (p passed) mostly() error {
	if lab.LackOfShortcuts() == nil && min(p.out, p.in) <= p.of/2 {
		return fmt.Errorf("of %d packets the kernel has carried %d out, and %d in", p.of, p.out, p.in)
	}
	return nil
}

// wants sends a datagram to the service, and wants the answer of a backend.
func (m *moving) wants(c net.Conn, b *backend) {
	m.t.Helper()
	_, err := c.Write(make([]byte, 200))
	check(m.t, errors.Join(err, c.SetDeadline(time.Now().Add(soon))))
	answer := make([]byte, 100)
	n, err := c.Read(answer)
	check(m.t, err)
	if who := string(answer[:n]); who != b.at.String() {
		m.t.Fatalf("%v is answered by %s, want %v", c.LocalAddr(), who, b.at)
	}
}

// meetNew has each client open connections, which the new backend has to answer.
func (m *moving) meetNew() {
	m.t.Helper()
	b := m.backends[1]
	for _, client := range m.clients {
		c := m.dial(client, "udp")
		m.wants(c, b)
		c.Close()
		tcp := m.dial(client, "tcp").(*net.TCPConn)
		check(m.t, tcp.SetDeadline(time.Now().Add(soon)))
		_, err := io.CopyN(tcp, rand.NewChaCha8([32]byte{}), 256<<10)
		check(m.t, errors.Join(err, tcp.CloseWrite()))
		who, err := io.ReadAll(tcp)
		check(m.t, err)
		tcp.Close()
		if string(who) != b.at.String() {
			m.t.Fatalf("a new connection of %s is answered by %s, want %v", client.Name, who, b.at)
		}
	}
}

// forget is conntrack -D -p udp --orig-dst SERVICE, for which kube-proxy has no
// program by now either.
func (m *moving) forget() {
	m.t.Helper()
	check(m.t, m.front().Do(func() error {
		var flows netlink.ConntrackFilter
		err := errors.Join(flows.AddProtocol(unix.IPPROTO_UDP), flows.AddIP(netlink.ConntrackOrigDstIP, service.AsSlice()))
		if err != nil {
			return err
		}
		n, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, &flows)
		if err == nil && int(n) < len(m.talks) {
			err = fmt.Errorf("%d flows to the service, want those of %d clients", n, len(m.talks))
		}
		return err
	}))
}

// watch captures what comes to the node of the first backend.
func (m *moving) watch() *lab.Capture {
	m.t.Helper()
	c, err := m.nodes[1].CaptureSnap("eth0", 256)
	check(m.t, err)
	m.t.Cleanup(func() { c.Stop() })
	return c
}

// checkArrivals wants what came to that node through the tunnel to be datagrams of
// flows that its backend knew.
func (m *moving) checkArrivals(c *lab.Capture, known map[netip.AddrPort]bool) {
	m.t.Helper()
	var strays []string
	seen := 0
	for _, f := range c.Stop() {
		p := m.inside(f)
		if f.Outgoing || p == nil {
			continue
		}
		udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		ip, _ := p.NetworkLayer().(*layers.IPv4)
		if udp == nil || ip == nil || !known[sourceOf(ip, udp)] {
			strays = append(strays, p.String())
			continue
		}
		seen++
	}
	if known != nil && seen == 0 {
		m.t.Error("nothing of the flows that go on is in the capture")
	}
	if len(strays) > 0 {
		m.t.Errorf("%d packets come to the node of the former backend, as %s", len(strays), strays[0])
	}
	if dropped := c.Dropped(); dropped != 0 {
		m.t.Errorf("%d frames are not in the capture", dropped)
	}
}

// inside is what is in a datagram of the tunnel; nil if it is none, or says nothing
// but who its sender is.
func (m *moving) inside(f lab.Frame) gopacket.Packet {
	if e, ok := dissect.DecodeVXLAN(f, 8472); ok {
		return e.Inner
	}
	udp, _ := dissect.Packet(f).Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp == nil || udp.DstPort != 8285 || encap.IsGreeting(udp.Payload) {
		return nil
	}
	return gopacket.NewPacket(udp.Payload, layers.LayerTypeIPv4, gopacket.NoCopy)
}

func sourceOf(ip *layers.IPv4, udp *layers.UDP) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip.SrcIP.To4())
	return netip.AddrPortFrom(addr, uint16(udp.SrcPort))
}

// backend is a container that tells who asks it what its address is, by UDP and TCP.
type backend struct {
	at netip.Addr

	mu      sync.Mutex
	askedBy map[netip.AddrPort]bool // by UDP
}

func newBackend(t *testing.T, h *lab.Host, at netip.Addr) *backend {
	t.Helper()
	b := &backend{at: at, askedBy: map[netip.AddrPort]bool{}}
	var c *net.UDPConn
	var l net.Listener
	check(t, h.Do(func() (err error) {
		addr := net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, movedPort))
		if c, err = net.ListenUDP("udp", addr); err == nil {
			l, err = net.Listen("tcp", addr.String())
		}
		return err
	}))
	t.Cleanup(func() { c.Close(); l.Close() })
	go b.answer(c)
	go b.accept(l)
	return b
}

func (b *backend) answer(c *net.UDPConn) {
	buf := make([]byte, 1<<11)
	for {
		_, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		b.mu.Lock()
		b.askedBy[netip.AddrPortFrom(from.Addr().Unmap(), from.Port())] = true
		b.mu.Unlock()
		_, _ = c.WriteToUDPAddrPort([]byte(b.at.String()), from)
	}
}

// accept answers each connection when all of it has come.
func (b *backend) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := io.Copy(io.Discard, c); err == nil {
				_, _ = io.WriteString(c, b.at.String())
			}
		}()
	}
}

// known are those who have asked by UDP.
func (b *backend) known() map[netip.AddrPort]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.askedBy)
}
