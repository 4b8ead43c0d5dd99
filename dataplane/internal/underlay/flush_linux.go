//go:build !portable

package underlay

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxSegments is how many datagrams one message can have: UDP_MAX_SEGMENTS
// before Linux 6.9 (1382e3b6a350 raised it to 128).
const maxSegments = 64

// mmsghdr is struct mmsghdr of recvmmsg(2); the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// syscalls holds the arrays that sendmmsg reads, laid out once.
type syscalls struct {
	sendmmsg func(fd int, messages []mmsghdr) (int, unix.Errno)

	headers  [maxMessages]mmsghdr
	names    [maxMessages]unix.RawSockaddrInet6
	controls [maxMessages]controlBuffer
	iovecs   [maxParts]unix.Iovec
	queued   [maxMessages]*message
	iovUsed  int
}

func (y *syscalls) init() { y.sendmmsg = sendmmsg }

// sendmmsg does not go through the scheduler: the socket does not block, so
// the call is as short as the copying that it does.
func sendmmsg(fd int, messages []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// add appends a stretch of memory to the message that is being prepared.
func (y *syscalls) add(part []byte) {
	v := &y.iovecs[y.iovUsed]
	v.Base = unsafe.SliceData(part)
	v.SetLen(len(part))
	y.iovUsed++
}

// sendFrom sends the messages of one socket, in order, as one sendmmsg for
// each stretch of them that wants the same socket options.
func (s *Sender) sendFrom(socket *Socket) {
	at := socket.firstMessage
	for at >= 0 {
		m := &s.messages[at]
		if err := socket.setOptions(m.flow.DF, m.flow.NoCsum); err != nil {
			m.flow.Account.Dropped(m.frames, m.flow.Remote.Addr(), err)
			at = m.next
			continue
		}
		n := 0
		s.sys.iovUsed = 0
		for ; at >= 0 && sameOptions(m, &s.messages[at]); at = s.messages[at].next {
			s.prepare(n, &s.messages[at], socket.ipv6)
			n++
		}
		s.sendPrepared(socket, n)
	}
}

func sameOptions(a, b *message) bool {
	return a.flow.DF == b.flow.DF && a.flow.NoCsum == b.flow.NoCsum
}

// prepare fills entry i of the arrays.
func (s *Sender) prepare(i int, m *message, ipv6 bool) {
	y := &s.sys
	y.queued[i] = m
	first := y.iovUsed
	for p := m.first; p >= 0; p = s.pieces[p].next {
		s.layOut(&s.pieces[p])
	}
	h := &y.headers[i].hdr
	h.Iov = &y.iovecs[first]
	h.SetIovlen(y.iovUsed - first)
	h.Name = (*byte)(unsafe.Pointer(&y.names[i]))
	h.Namelen = putName(&y.names[i], &m.flow.Outer, ipv6)
	segment := 0
	if m.count > 1 {
		// Never on a single datagram: kernels with 10154dbded6d and without
		// its follow-up left such a one with half a checksum.
		segment = m.size
	}
	n := putControl(&y.controls[i], &m.flow.Outer, segment, ipv6)
	h.Control, h.Flags = nil, 0
	if n > 0 {
		h.Control = &y.controls[i][0]
	}
	h.SetControllen(n)
}

// sendPrepared sends entries 0 to n-1. What the kernel refuses is accounted
// for or retried in smaller parts, and the rest goes on behind it.
func (s *Sender) sendPrepared(socket *Socket, n int) {
	for i := 0; i < n; {
		sent, errno := s.send(socket, s.sys.headers[i:n])
		for _, m := range s.sys.queued[i : i+sent] {
			s.sent(m)
		}
		if i += sent; sent == 0 {
			s.refused(socket, i, errno)
			i++
		}
	}
}

// send makes one sendmmsg, again after a signal and a few times while a queue
// is full. It returns how many entries the kernel took, and if none, why.
func (s *Sender) send(socket *Socket, messages []mmsghdr) (int, unix.Errno) {
	for retries := 0; ; {
		s.Sends.Add(1)
		sent, errno := s.sys.sendmmsg(socket.fd, messages)
		switch {
		case errno == 0:
			return sent, 0
		case errno == unix.EINTR:
		case (errno == unix.ENOBUFS || errno == unix.EAGAIN) && retries < sendRetries:
			retries++
		default:
			return 0, errno
		}
	}
}

// sendRetries is how often a full queue is tried again before its datagrams
// are dropped: a device queue drains while the call returns.
const sendRetries = 3

func (s *Sender) sent(m *message) {
	s.partLost = false
	m.flow.Account.Sent(m.frames, m.frameBytes)
	if m.count > 1 {
		s.GSO.Add(1)
	}
}

// refused deals with entry i, which the kernel did not take: a run of datagrams
// is tried once more one by one, in case it was UDP_SEGMENT that it minded.
//
//	EIO       device without checksum offload before 6.11 (10154dbded6d), or IPsec
//	EINVAL    more segments than this kernel takes
//	EMSGSIZE  segment larger than the path MTU, which single datagrams may exceed
func (s *Sender) refused(socket *Socket, i int, errno unix.Errno) {
	m := s.sys.queued[i]
	if m.count == 1 || errno != unix.EIO && errno != unix.EINVAL && errno != unix.EMSGSIZE {
		s.lost(m, errno)
		return
	}
	if errno == unix.EIO && !s.NoGSO {
		s.NoGSO = true
		if s.OnNoGSO != nil {
			s.OnNoGSO(fmt.Errorf("sendmmsg with UDP_SEGMENT: %w", errno))
		}
	}
	s.sendSingly(socket, i)
}

// lost accounts for a message none of which was sent. One that only goes on
// with a super-frame is the loss of that frame, unless its beginning was.
func (s *Sender) lost(m *message, errno unix.Errno) {
	frames := m.frames
	if frames == 0 && !s.partLost {
		frames = 1
	}
	s.partLost = true
	if frames > 0 {
		m.flow.Account.Dropped(frames, m.flow.Remote.Addr(), errno)
	}
}

// sendSingly sends the datagrams of entry i in a call each.
func (s *Sender) sendSingly(socket *Socket, i int) {
	m := s.sys.queued[i]
	single := [1]mmsghdr{s.sys.headers[i]}
	whole := unsafe.Slice(single[0].hdr.Iov, single[0].hdr.Iovlen)
	n := putControl(&s.sys.controls[i], &m.flow.Outer, 0, socket.ipv6)
	single[0].hdr.SetControllen(n)
	if n == 0 {
		single[0].hdr.Control = nil
	}
	lost, why := 0, unix.Errno(0)
	for at := 0; at < m.bytes; at += m.size {
		var parts [maxPartsOfOne]unix.Iovec
		used := cut(whole, at, min(at+m.size, m.bytes), parts[:])
		single[0].hdr.Iov = &parts[0]
		single[0].hdr.SetIovlen(used)
		if n, errno := s.send(socket, single[:]); n == 0 {
			lost, why = lost+1, errno
		}
	}
	s.sentSingly(m, lost, why)
}

// sentSingly accounts for a message of whose datagrams some may be lost. They
// are frames of their own, or segments of fewer super-frames.
func (s *Sender) sentSingly(m *message, lost int, why unix.Errno) {
	if lost >= m.frames && lost > 0 {
		s.lost(m, why)
		return
	}
	if lost > 0 {
		m.flow.Account.Dropped(lost, m.flow.Remote.Addr(), why)
	}
	s.partLost = false
	m.flow.Account.Sent(m.frames-lost, m.frameBytes*(m.frames-lost)/max(1, m.frames))
}

// maxPartsOfOne is how many pieces one datagram can lie in: header and payload.
const maxPartsOfOne = 2

// cut describes bytes from…to of what whole describes and returns the number of
// parts.
func cut(whole []unix.Iovec, from, to int, parts []unix.Iovec) int {
	used, at := 0, 0
	for i := range whole {
		data := unsafe.Slice(whole[i].Base, whole[i].Len)
		lo, hi := max(from, at), min(to, at+len(data))
		if lo < hi {
			parts[used].Base = &data[lo-at]
			parts[used].SetLen(hi - lo)
			used++
		}
		at += len(data)
	}
	return used
}

// putName writes the destination as a raw socket address and returns its size.
func putName(name *unix.RawSockaddrInet6, o *Outer, ipv6 bool) uint32 {
	if !ipv6 {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		v4.Family = unix.AF_INET
		v4.Addr = o.Remote.Addr().As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&v4.Port))[:], o.Remote.Port())
		return unix.SizeofSockaddrInet4
	}
	name.Family = unix.AF_INET6
	name.Addr = o.Remote.Addr().As16()
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&name.Port))[:], o.Remote.Port())
	binary.BigEndian.PutUint32((*[4]byte)(unsafe.Pointer(&name.Flowinfo))[:], o.FlowLabel)
	name.Scope_id = 0
	if o.Remote.Addr().IsLinkLocalUnicast() {
		name.Scope_id = uint32(o.IfIndex)
	}
	return unix.SizeofSockaddrInet6
}
