package interop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/songgao/water"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// stranger does what flannel's proxy does: it carries packets between a TUN device
// and a UDP socket, and knows nothing of wefts. It notes what it gets.
type stranger struct {
	*vtep
	mtu    int
	device io.ReadWriteCloser
	socket *net.UDPConn
	far    netip.AddrPort

	mu       sync.Mutex
	datagram int      // that came
	greeted  int      // of them had a greeting behind
	wrong    []string // what they should not be
}

// newStranger gives a node a stranger instead of a link of weft's.
func newStranger(t *testing.T, h *lab.Host, u underlay, mtu int) *stranger {
	t.Helper()
	s := &stranger{vtep: &vtep{Host: h, kind: kernel, link: "stranger0"}, mtu: mtu, far: netip.AddrPortFrom(u.a, flannelPort)}
	check(t, h.Do(func() (err error) {
		c := water.Config{DeviceType: water.TUN}
		c.Name = s.link
		s.device, err = water.New(c)
		return err
	}))
	check(t, s.SetMTU(s.link, mtu))
	s.addressNode(t, nodesB)
	s.socket = openUDP(t, h, netip.AddrPortFrom(u.b, flannelPort))
	var ended sync.WaitGroup
	ended.Go(s.in)
	ended.Go(s.out)
	t.Cleanup(func() {
		_, _ = s.socket.Close(), s.device.Close()
		ended.Wait()
	})
	return s
}

// in carries what the socket receives.
func (s *stranger) in() {
	for b := make([]byte, 1<<16); ; {
		n, err := s.socket.Read(b)
		if err != nil {
			return
		}
		s.look(b[:n])
		_, _ = s.device.Write(b[:n]) // all of it, as the proxy does
	}
}

// out carries what the device sends.
func (s *stranger) out() {
	for b := make([]byte, 1<<16); ; {
		n, err := s.device.Read(b)
		if err != nil {
			return
		}
		_, _ = s.socket.WriteToUDPAddrPort(b[:n], s.far)
	}
}

// look notes a datagram.
func (s *stranger) look(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.datagram++
	packet := strings.TrimSuffix(string(b), greeting)
	if len(packet) < len(b) {
		s.greeted++
	}
	if err := usable([]byte(packet), s.mtu); err != nil || len(b) > s.mtu {
		s.wrong = append(s.wrong, fmt.Sprintf("%d bytes, % x…: %v", len(b), b[:min(len(b), 40)], err))
	}
}

// usable says what is wrong with a packet for a device that does nothing about it.
func usable(packet []byte, mtu int) error {
	if len(packet) == 0 || len(packet) > mtu {
		return fmt.Errorf("%d bytes", len(packet))
	}
	p := gopacket.NewPacket(packet, ipDecoder(packet), gopacket.Default)
	if p.NetworkLayer() == nil || p.ErrorLayer() != nil {
		return errors.New("no IP packet")
	}
	if n := len(p.NetworkLayer().LayerContents()) + len(p.NetworkLayer().LayerPayload()); n != len(packet) {
		return fmt.Errorf("%d bytes around a packet of %d", len(packet), n)
	}
	return dissect.VerifyChecksums(p)
}

func (s *stranger) saw() (datagrams, greeted int, wrong []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.datagram, s.greeted, s.wrong
}

// connectStranger joins a link of type udp to a stranger, by a wire on which the
// kernel hands over what is unfinished.
func connectStranger(t *testing.T, u underlay) (a *vtep, b *stranger) {
	t.Helper()
	ha, hb := lab.TestPair(t)
	a = addUDPLink(t, ha, u.a, nodesA)
	a.routeTo(nodesB, u.b)
	d, err := a.Device(a.link)
	check(t, err)
	b = newStranger(t, hb, u, d.MTU)
	offloadsOn.apply(t, a, b.vtep)
	return a, b
}

// TestGreetingStranger has a link of type udp exchange TCP with somebody who is no
// weft, until it has been greeted: all that comes is finished, and at most a greeting
// lies behind it. What it sends goes past the process all the same.
func TestGreetingStranger(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a, b := connectStranger(t, u)
			m := newMeter(t, a)
			check(t, lab.Eventually(2*waitLimit, func() error {
				for i := range nodesB {
					transfer(t, a, b.vtep, nodesB[i], 2*mib+1)
					transfer(t, b.vtep, a, nodesA[i], 2*mib+1)
				}
				if _, greeted, _ := b.saw(); greeted == 0 || receivedShort(a.figures(t)) == 0 {
					return fmt.Errorf("%d greetings came, %d packets went past the process", greeted, receivedShort(a.figures(t)))
				}
				return nil
			}))
			datagrams, greeted, wrong := b.saw()
			if len(wrong) > 0 {
				t.Errorf("%d of %d datagrams, such as %s", len(wrong), datagrams, wrong[0])
			}
			if greeted > datagrams/16 {
				t.Errorf("%d of %d datagrams have a greeting", greeted, datagrams)
			}
			if n := sentShort(a.figures(t)); n > 0 {
				t.Errorf("%d packets were sent past the process", n)
			}
			m.checkDrops(t)
		})
	}
}

// TestGreetingQuiet has somebody send little, who is never greeted.
func TestGreetingQuiet(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	a, b := connectStranger(t, underlay4)
	for i := range nodesB {
		check(t, a.Ping(nodesB[i].Addr(), lab.PingOptions{Count: 2, Size: 100}).Lost())
		check(t, b.Ping(nodesA[i].Addr(), lab.PingOptions{Count: 2, Size: 100}).Lost())
	}
	datagrams, greeted, wrong := b.saw()
	if datagrams < 8 || greeted > 0 || len(wrong) > 0 {
		t.Errorf("of %d datagrams %d have a greeting, and are wrong %v", datagrams, greeted, wrong)
	}
}

// TestGreetingAnswer: a greeting is answered with the next packet to the peer, by the
// port that the route names, and nowhere else, whatever address was forged.
func TestGreetingAnswer(t *testing.T) {
	t.Parallel()
	for i, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			const port = 9999
			a, v6 := newRoutedAlone(t, "udp", u, nil), i == 1
			routedDoes(fmt.Sprintf("route replace PREFIX via PEER port %d dev LINK", port), v6)(t, a)
			swallow(t, a.peer, port)
			greeted := inner{v6: v6, size: 1, srcPort: 1000, dstPort: 2000}.packet(t)
			for _, from := range []netip.Addr{a.b, a.elsewhere().Addr()} {
				check(t, a.peer.SendUDP(netip.AddrPortFrom(from, 40000), netip.AddrPortFrom(a.a, a.port), []byte(string(greeted)+greeting), lab.DatagramOptions{}))
				a.delivered(t, greeted)
			}
			for _, size := range []int{1000, 1001} { // the first one answers
				packet := inner{v6: v6, size: size, srcPort: 1000, dstPort: 2000}.packet(t)
				a.send(t, packet)
				_, err := a.wire.Wait(waitLimit, func(f lab.Frame) bool { return string(payloadTo(f, port)) == string(packet) })
				check(t, err)
			}
			answers := 0
			for _, f := range a.wire.Frames() {
				if string(payloadTo(f, port)) == greeting && !f.Outgoing {
					answers++
				} else if strings.HasSuffix(string(f.Data), greeting) && !f.Outgoing {
					t.Errorf("a greeting elsewhere: %v", dissect.Packet(f))
				}
			}
			if answers != 1 {
				t.Errorf("%d answers to the peer's port, want one", answers)
			}
		})
	}
}

// payloadTo is what a UDP datagram to a port has in it, nil of all else.
func payloadTo(f lab.Frame, port layers.UDPPort) []byte {
	if udp, ok := dissect.Packet(f).Layer(layers.LayerTypeUDP).(*layers.UDP); ok && udp.DstPort == port {
		return udp.Payload
	}
	return nil
}
