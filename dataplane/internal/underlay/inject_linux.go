//go:build !portable

package underlay

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/injector"
	"github.com/weftnet/weft/encap"
)

// injection is how a Sender reaches underlay devices past the sockets.
type injection struct {
	device  *injector.Device // nil without
	write   func(headers, rest []byte) unix.Errno
	headers [injector.HeaderLen + outerLen6]byte
	id      uint16 // IPv4 identification of the next datagram
	refused int    // frames in a row
}

// UseInjector has the Sender inject by a device from now on; nil ends that.
func (s *Sender) UseInjector(d *injector.Device) {
	s.inject.device = d
	if d != nil {
		s.inject.write = d.Write
	}
}

// Injects reports whether Inject can do anything.
func (s *Sender) Injects() bool { return s.inject.device != nil }

// Inject sends a TCP super-frame whole, as one frame with one set of outer
// headers that goes past the sockets to the underlay device. It reports
// whether it did; if not, nothing was sent and nothing accounted for.
//
// What the flow's socket has queued is sent first. Both ways end in the same
// queue of the same device within the call, on the same thread, so a flow's
// datagrams leave in the order in which they were given to the Sender.
func (s *Sender) Inject(f *Flow, via *Via, vni uint32, p *encap.Packet, l *encap.Layout, frameBytes int) bool {
	n := &s.inject
	headers := n.build(f, via, vni, p, l)
	if headers == nil {
		return false
	}
	if f.Socket.lastMessage >= 0 {
		s.Flush()
	}
	if errno := n.write(headers, p.Frame); errno != 0 {
		s.notInjected(errno)
		return false
	}
	n.refused = 0
	s.Injected.Add(1)
	f.Account.Sent(1, frameBytes)
	return true
}

// build returns all headers in front of an inner frame, valid until the next
// build, or nil if there is a length that they cannot say.
func (n *injection) build(f *Flow, via *Via, vni uint32, p *encap.Packet, l *encap.Layout) []byte {
	h := outerHeader{Outer: &f.Outer, via: via, port: f.Socket.port, vni: vni, size: len(p.Frame)}
	t := injector.Tunnel{IPv6: f.Socket.ipv6, Csum: !f.NoCsum, Header: outerLen4}
	etherType := uint16(etherIPv4)
	if t.IPv6 {
		t.Header, etherType = outerLen6, etherIPv6
	}
	if t.Header+h.size > maxIPv4Packet {
		return nil
	}
	b := n.headers[:injector.HeaderLen+t.Header]
	injector.PutHeader(b, t, p, l)
	outer := b[injector.HeaderLen:]
	n.device.PutEther(outer, via.IfIndex, etherType)
	if t.IPv6 {
		h.put6(outer[encap.EtherHeaderLen:])
	} else {
		h.id = n.nextID(len(p.Frame) / int(p.GSO.Size))
		h.put4(outer[encap.EtherHeaderLen:])
	}
	return b
}

// nextID returns an identification for the first of some datagrams, which is
// never 0; the device counts on from there.
func (n *injection) nextID(datagrams int) uint16 {
	id := max(1, n.id)
	n.id = id + uint16(datagrams) + 1
	return id
}

// refusedInARow is how many frames the kernel may refuse before it is not
// asked any more. One that it minds can come from anybody behind a bridge.
const refusedInARow = 16

// notInjected looks at why a frame was not taken.
//
//	EIO, EBADFD       somebody took the interface down, or deleted it
//	EINVAL            the kernel minds the frame, or all of them
//	EAGAIN, ENOMEM …  there is no memory for it now
func (s *Sender) notInjected(errno unix.Errno) {
	n := &s.inject
	n.refused++
	if gone := errno == unix.EIO || errno == unix.EBADFD; !gone && n.refused < refusedInARow {
		return
	}
	name := n.device.Name()
	n.device = nil
	if s.OnNoInjector != nil {
		s.OnNoInjector(&InjectError{Name: name, Errno: errno})
	}
}

// InjectError says why super-frames are not injected any more.
type InjectError struct {
	Name  string // of the private interface
	Errno unix.Errno
}

// Error names the interface.
func (e *InjectError) Error() string {
	return fmt.Sprintf("write a tunnelled super-frame to %s: %v", e.Name, e.Errno)
}

// Unwrap returns the errno.
func (e *InjectError) Unwrap() error { return e.Errno }
