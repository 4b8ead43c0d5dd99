package interop

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// kinds are the two that tables here are held against; the kernel's device is
// the control.
var kinds = []kind{user, kernel}

// waitLimit is how long something may take that comes at once.
const waitLimit = 15 * time.Second

// alone is one VTEP, and at the other end of its wire a host without any, which
// sees and forges its datagrams. Nothing moves on the link by itself: it has no
// addresses, and no IPv6.
type alone struct {
	*vtep
	underlay
	peer   *lab.Host
	wire   *lab.Capture // of the peer's eth0
	inside *lab.Capture // of the link
	port   uint16
	fences int    // sent so far
	routed string // "l3" or "udp" if the link carries IP packets
}

// newAlone makes the VTEP: VNI 5, port 4789, the peer its remote. adjust may
// change what it is made of, and the host that it is made in. The wire carries
// only what a cable could, no super-frames and no unfinished checksums.
func newAlone(t *testing.T, k kind, u underlay, adjust func(h *lab.Host, s *spec)) *alone {
	t.Helper()
	h, peer := lab.TestPair(t)
	plainWire(t, h, peer)
	s := spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Remote: u.b, Local: u.a, Dev: "eth0"}}
	if adjust != nil {
		adjust(h, &s)
	}
	check(t, h.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
	a := &alone{vtep: addVTEP(t, h, k, s), underlay: u, peer: peer, port: s.Port}
	swallow(t, peer, s.Port)
	reach(t, peer, u.a) // both know the other's MAC address from here on
	a.wire, a.inside = lab.TestCapture(t, peer, "eth0"), lab.TestCapture(t, h, s.Name)
	return a
}

// reach waits until a host gets an answer from an address: a fresh one, or one
// behind a wire whose offloads were changed, may take a moment.
func reach(t *testing.T, h *lab.Host, addr netip.Addr) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error { return h.Ping(addr, lab.PingOptions{}).Lost() }))
}

// plainWire has both ends of a wire finish checksums and cut super-frames
// before they send.
func plainWire(t *testing.T, hosts ...*lab.Host) {
	t.Helper()
	for _, h := range hosts {
		check(t, h.SetOffloads("eth0", lab.OffloadsOff()))
	}
}

// swallow has a host take datagrams to a port without a word, where it would
// answer by ICMP that nobody is there.
func swallow(t *testing.T, h *lab.Host, port uint16) {
	t.Helper()
	var c net.PacketConn
	at := netip.AddrPortFrom(netip.IPv6Unspecified(), port).String() // IPv4 too
	check(t, h.Do(func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", at)
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
}

// send sends frames out through the link, as its host would.
func (a *alone) send(t *testing.T, frames ...[]byte) {
	t.Helper()
	check(t, a.SendFrame(a.link, frames...))
}

// forge sends a datagram from the peer to the VTEP.
func (a *alone) forge(t *testing.T, payload []byte, o lab.DatagramOptions) {
	t.Helper()
	src, dst := netip.AddrPortFrom(a.b, 40000), netip.AddrPortFrom(a.a, a.port)
	check(t, a.peer.SendUDP(src, dst, payload, o))
}

// sent waits for frames on the wire and returns the datagram of each.
func (a *alone) sent(t *testing.T, frames ...[]byte) []*dissect.Encapsulated {
	t.Helper()
	found := map[string]*dissect.Encapsulated{}
	for _, f := range frames {
		found[string(f)] = nil
	}
	missing := len(found)
	_, err := a.wire.Wait(waitLimit, func(f lab.Frame) bool {
		if e, ok := dissect.DecodeVXLAN(f, a.port); ok {
			if had, wanted := found[string(e.Inner.Data())]; wanted && had == nil {
				found[string(e.Inner.Data())] = e
				missing--
			}
		}
		return missing == 0
	})
	if err != nil {
		t.Fatalf("%d of %d frames are not on the wire: %v", missing, len(frames), err)
	}
	all := make([]*dissect.Encapsulated, len(frames))
	for i, f := range frames {
		all[i] = found[string(f)]
	}
	return all
}

// delivered waits for a frame to come out of the link.
func (a *alone) delivered(t *testing.T, frame []byte) {
	t.Helper()
	if _, err := a.inside.Wait(waitLimit, isFrame(frame)); err != nil {
		t.Errorf("frame of %d bytes, % x…: %v", len(frame), frame[:14], err)
	}
}

func isFrame(frame []byte) func(lab.Frame) bool {
	return func(f lab.Frame) bool { return bytes.Equal(f.Data, frame) }
}

// fence sends one plain frame in by a datagram and waits for it to come out:
// what was forged before has been dealt with by then.
func (a *alone) fence(t *testing.T) {
	t.Helper()
	a.fences++
	frame := ether(0xf000+a.fences, typeLocal, []byte("fence"))
	a.forge(t, vxlan(5, frame), lab.DatagramOptions{})
	a.delivered(t, frame)
}
