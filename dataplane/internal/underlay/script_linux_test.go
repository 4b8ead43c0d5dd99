//go:build !portable

package underlay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel stands in for sendmmsg. What it takes and refuses is up to the test;
// what it took is read from the memory that the real one would read, and not
// from what the Sender knows about it.
type kernel struct {
	t     *testing.T
	calls [][]entry // all that each call asked for
	wire  []wired   // what was sent

	// limit says how many entries a call takes; nil = all.
	limit func(call int) int
	// refuse says what is wrong with an entry; nil = nothing.
	refuse func(call int, e *entry) unix.Errno
}

// entry is one mmsghdr.
type entry struct {
	fd       int
	to       netip.AddrPort
	flowinfo uint32
	scope    uint32
	data     []byte
	iovecs   int
	segment  int // UDP_SEGMENT, 0 without
	tos, ttl int // -1 without
	source   netip.Addr
	ifIndex  int
	control  int  // bytes
	first    bool // of its call: only that one's error is told
}

// wired is one datagram on the wire.
type wired struct {
	fd   int
	to   netip.AddrPort
	tos  int
	data string
}

func (e *entry) String() string {
	return fmt.Sprintf("%d bytes to %v, segment %d", len(e.data), e.to, e.segment)
}

// script makes a Sender that sends to a kernel.
func script(t *testing.T) (*Sender, *kernel) {
	s, k := NewSender(), &kernel{t: t}
	s.sys.sendmmsg = k.sendmmsg
	return s, k
}

// sendmmsg does as sendmmsg(2) does: it sends entries until one fails, and
// returns that one's error only if it was the first.
func (k *kernel) sendmmsg(fd int, messages []mmsghdr) (int, unix.Errno) {
	call := len(k.calls)
	var entries []entry
	for i := range messages {
		entries = append(entries, k.read(fd, &messages[i].hdr))
	}
	k.calls = append(k.calls, entries)
	entries[0].first = true
	most := len(entries)
	if k.limit != nil {
		most = min(most, k.limit(call))
	}
	for i := range most {
		if k.refuse != nil {
			if errno := k.refuse(call, &entries[i]); errno != 0 {
				if i > 0 {
					return i, 0
				}
				return -1, errno
			}
		}
		k.send(&entries[i])
	}
	return most, 0
}

// send cuts an entry as UDP_SEGMENT says.
func (k *kernel) send(e *entry) {
	size := e.segment
	if size == 0 {
		size = max(len(e.data), 1)
	}
	if n := (len(e.data) + size - 1) / size; n > 64 || len(e.data) > 65507 || e.segment != 0 && n < 2 {
		k.t.Errorf("no kernel takes that: %v, %d segments", e, n)
	}
	for part := range slices.Chunk(e.data, size) {
		k.wire = append(k.wire, wired{e.fd, e.to, e.tos, string(part)})
	}
}

// read copies what a message header points to.
func (k *kernel) read(fd int, h *unix.Msghdr) entry {
	e := entry{fd: fd, tos: -1, ttl: -1, iovecs: int(h.Iovlen), control: int(h.Controllen)}
	for _, v := range unsafe.Slice(h.Iov, h.Iovlen) {
		e.data = append(e.data, unsafe.Slice(v.Base, v.Len)...)
	}
	k.readName(&e, unsafe.Slice(h.Name, h.Namelen))
	if h.Controllen > 0 {
		k.readControl(&e, bytes.Clone(unsafe.Slice(h.Control, h.Controllen)))
	} else if h.Control != nil {
		k.t.Error("a control buffer of no bytes")
	}
	return e
}

func (k *kernel) readName(e *entry, name []byte) {
	port := binary.BigEndian.Uint16(name[2:])
	switch family := binary.NativeEndian.Uint16(name); {
	case family == unix.AF_INET && len(name) == unix.SizeofSockaddrInet4:
		e.to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), port)
	case family == unix.AF_INET6 && len(name) == unix.SizeofSockaddrInet6:
		e.to = netip.AddrPortFrom(netip.AddrFrom16([16]byte(name[8:24])), port)
		e.flowinfo = binary.BigEndian.Uint32(name[4:])
		e.scope = binary.NativeEndian.Uint32(name[24:])
	default:
		k.t.Errorf("address of family %d in %d bytes", family, len(name))
	}
}

func (k *kernel) readControl(e *entry, b []byte) {
	messages, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		k.t.Errorf("control messages % x: %v", b, err)
	}
	for _, m := range messages {
		k.readMessage(e, m.Header.Level, m.Header.Type, m.Data)
	}
}

func (k *kernel) readMessage(e *entry, level, kind int32, data []byte) {
	type key struct{ level, kind, size int32 }
	number := func() int { return int(int32(binary.NativeEndian.Uint32(data))) }
	switch (key{level, kind, int32(len(data))}) {
	case key{unix.SOL_UDP, unix.UDP_SEGMENT, 2}:
		e.segment = int(binary.NativeEndian.Uint16(data))
	case key{unix.IPPROTO_IP, unix.IP_TOS, 4}, key{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 4}:
		e.tos = number()
	case key{unix.IPPROTO_IP, unix.IP_TTL, 4}, key{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, 4}:
		e.ttl = number()
	case key{unix.IPPROTO_IP, unix.IP_PKTINFO, 12}: // ifindex, local address, header's destination
		e.ifIndex, e.source = number(), netip.AddrFrom4([4]byte(data[4:8]))
	case key{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, 20}: // address, ifindex
		e.source, e.ifIndex = netip.AddrFrom16([16]byte(data[:16])), int(binary.NativeEndian.Uint32(data[16:]))
	default:
		k.t.Errorf("control message of level %d, type %d, %d bytes", level, kind, len(data))
	}
}

// entries are those of all calls.
func (k *kernel) entries() []entry { return slices.Concat(k.calls...) }

// ledger is an Account that adds up.
type ledger struct {
	frames, bytes, dropped int
	why                    []error
}

func (l *ledger) Sent(frames, bytes int) {
	l.frames += frames
	l.bytes += bytes
}

func (l *ledger) Dropped(frames int, _ netip.Addr, why error) {
	l.dropped += frames
	l.why = append(l.why, why)
}

// fakeSocket is a socket for a scripted kernel, without a descriptor behind it.
func fakeSocket(fd int) *Socket { return &Socket{fd: fd, firstMessage: -1, lastMessage: -1} }

// flowTo is a flow to port n of one peer.
func flowTo(s *Socket, a Account, port uint16) *Flow {
	remote := netip.MustParseAddr("192.0.2.1")
	if s.ipv6 {
		remote = netip.MustParseAddr("2001:db8::1")
	}
	return &Flow{Socket: s, Account: a, Outer: Outer{Remote: netip.AddrPortFrom(remote, port)}}
}

// filled is a datagram of n bytes that says which one it is.
func filled(n int, mark byte) []byte { return bytes.Repeat([]byte{mark}, n) }

// queue queues datagrams and returns them as they should be on the wire.
func queue(s *Sender, f *Flow, datagrams ...[]byte) (want []wired) {
	tos := -1
	if f.TOS != 0 {
		tos = int(f.TOS)
	}
	for _, d := range datagrams {
		s.Datagram(f, d, len(d))
		want = append(want, wired{f.Socket.fd, f.Remote, tos, string(d)})
	}
	return want
}

// wantWire wants each datagram once, those of a socket in order.
func wantWire(t *testing.T, k *kernel, want []wired) {
	t.Helper()
	if len(k.wire) != len(want) {
		t.Errorf("%d datagrams on the wire, want %d", len(k.wire), len(want))
	}
	have, wanted := perSocket(k.wire), perSocket(want)
	for fd := range wanted {
		for i, w := range wanted[fd] {
			if i >= len(have[fd]) || have[fd][i] != w {
				t.Fatalf("socket %d, datagram %d of %d is not what was queued", fd, i, len(wanted[fd]))
			}
		}
	}
}

func perSocket(all []wired) map[int][]wired {
	sorted := map[int][]wired{}
	for _, w := range all {
		sorted[w.fd] = append(sorted[w.fd], w)
	}
	return sorted
}

func wantLedger(t *testing.T, l *ledger, frames, bytes, dropped int) {
	t.Helper()
	if l.frames != frames || l.bytes != bytes || l.dropped != dropped {
		t.Errorf("booked %d frames of %d bytes sent, %d dropped; want %d of %d, %d (%v)", l.frames, l.bytes, l.dropped, frames, bytes, dropped, l.why)
	}
}
