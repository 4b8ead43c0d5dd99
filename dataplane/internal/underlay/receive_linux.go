//go:build !portable

package underlay

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/count"
)

const (
	// Every buffer holds the largest datagram: a sender on the same machine
	// leaves its super-frames whole, and UDP_GRO fills up to 64 KiB.
	receiveSize = 64 << 10
	// maxReceive bounds how much one call returns, in messages and bytes.
	maxReceive      = 64
	maxReceiveBytes = 64 << 10

	sendBuffer = 4 << 20
)

// Receiver is the socket that a port's datagrams arrive on, with the buffers
// for a batch of them.
type Receiver struct {
	*Socket
	Calls count.Counter // system calls
	GRO   count.Counter // messages of several datagrams

	buffers  []byte // maxReceive × receiveSize; pages never used are never there
	headers  [maxReceive]mmsghdr
	names    [maxReceive]unix.RawSockaddrInet6
	controls [maxReceive]controlBuffer
	iovecs   [maxReceive]unix.Iovec
	out      [maxReceive]Datagram
	taken    int // headers that the last call wrote to
	emptied  bool
	wanted   int // messages to ask for: fewer when they are large
}

// Listen holds a UDP port on all addresses of a family. The error wraps
// unix.EADDRINUSE if somebody else has it.
func Listen(ipv6 bool, port uint16) (*Receiver, error) { return ListenAt(ipv6, netip.Addr{}, port) }

// ListenAt does so on one address of the host, if local is valid. The error
// wraps unix.EADDRNOTAVAIL if the host does not have it.
func ListenAt(ipv6 bool, local netip.Addr, port uint16) (*Receiver, error) {
	s, err := openAt(ipv6, local, port)
	if err != nil {
		return nil, err
	}
	r := &Receiver{Socket: s, wanted: maxReceive, buffers: make([]byte, maxReceive*receiveSize)}
	level, option, name := unix.IPPROTO_IP, unix.IP_RECVTOS, "IP_RECVTOS"
	if ipv6 {
		level, option, name = unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, "IPV6_RECVTCLASS"
	}
	if err := unix.SetsockoptInt(s.fd, level, option, 1); err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	setBuffer(s.fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer)
	r.layOut()
	return r, nil
}

func (r *Receiver) layOut() {
	for i := range r.headers {
		r.iovecs[i].Base = &r.buffers[i*receiveSize]
		r.iovecs[i].SetLen(receiveSize)
		h := &r.headers[i].hdr
		h.Iov = &r.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = &r.controls[i][0]
	}
	r.taken = len(r.headers)
}

// Receive returns what has arrived, at most 64 messages and not much more than
// 64 KB, or nothing; it never waits. The result is valid until the next call.
func (r *Receiver) Receive() ([]Datagram, error) {
	r.rewind()
	r.Calls.Add(1)
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(r.fd),
		uintptr(unsafe.Pointer(&r.headers[0])), uintptr(r.wanted), unix.MSG_DONTWAIT, 0, 0)
	r.emptied = errno == unix.EAGAIN || errno == 0 && int(n) < r.wanted
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EINTR:
		return nil, nil
	default:
		return nil, errno
	}
	largest := 1
	for i := range int(n) {
		r.take(i)
		largest = max(largest, len(r.out[i].Data))
	}
	r.taken, r.wanted = int(n), min(maxReceive, max(1, maxReceiveBytes/largest))
	return r.out[:n], nil
}

// Emptied reports whether the last Receive took all that there was.
func (r *Receiver) Emptied() bool { return r.emptied }

// TellDestination has Receive say where each datagram was sent to, and by which
// device it came in.
func (r *Receiver) TellDestination() error {
	if r.ipv6 {
		return unix.SetsockoptInt(r.fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(r.fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// rewind gives the room for names and control messages back to the headers that
// the kernel has written to.
func (r *Receiver) rewind() {
	for i := range r.taken {
		h := &r.headers[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(len(r.controls[i]))
	}
	r.taken = 0
}

func (r *Receiver) take(i int) {
	m := &r.headers[i]
	at := i * receiveSize
	d := &r.out[i]
	*d = Datagram{Data: r.buffers[at : at+int(m.len) : at+receiveSize]}
	readControl(r.controls[i][:m.hdr.Controllen], d)
	if d.Segment > 0 && d.Segment < len(d.Data) {
		r.GRO.Add(1)
	}
	if r.ipv6 {
		d.From = netip.AddrFrom16(r.names[i].Addr)
		d.IfIndex = int(r.names[i].Scope_id) // of link-local addresses only
	} else {
		d.From = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&r.names[i])).Addr)
	}
}

// SetGRO switches UDP_GRO. The getter is missing before 5.12, so the setter's
// answer is all there is to know.
func (r *Receiver) SetGRO(on bool) error {
	return unix.SetsockoptInt(r.fd, unix.SOL_UDP, udpGRO, b2i(on))
}

// AcceptZeroChecksum lets datagrams with UDP checksum zero in over IPv6; over
// IPv4 they always are.
func (r *Receiver) AcceptZeroChecksum(on bool) error {
	return unix.SetsockoptInt(r.fd, unix.SOL_UDP, unix.UDP_NO_CHECK6_RX, b2i(on))
}

// SetReceiveBuffer asks for a receive buffer of n bytes and returns what the
// kernel gave. Without CAP_NET_ADMIN that is at most net.core.rmem_max.
func (r *Receiver) SetReceiveBuffer(n int) int {
	return setBuffer(r.fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, n)
}

// setBuffer sizes a socket buffer, by force if that is permitted, and returns
// the size it has then: half of what the kernel accounts (socket(7)).
func setBuffer(fd, force, plain, n int) int {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, n) != nil {
		// Refusal and clamping look the same afterwards.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, n)
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, plain)
	if err != nil {
		return 0
	}
	return got / 2
}

// Memory asks the kernel what it holds for the socket.
func (r *Receiver) Memory() (Memory, error) {
	const soMeminfo, rmemAlloc, rcvbuf, drops, fields = 55, 0, 1, 8, 9 // linux/sock_diag.h: SK_MEMINFO_
	var info [fields]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(r.fd), unix.SOL_SOCKET, soMeminfo,
		uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return Memory{}, fmt.Errorf("SO_MEMINFO: %w", errno)
	}
	return Memory{Charged: info[rmemAlloc], Limit: info[rcvbuf], Dropped: info[drops]}, nil
}
