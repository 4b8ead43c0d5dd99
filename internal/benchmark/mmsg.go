//go:build linux

package benchmark

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchLen is how many datagrams one call sends or receives. One call each
// would have the generator cost more than the way.
const batchLen = 64

// mmsghdr is struct mmsghdr of recvmmsg(2); the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch is the memory of datagrams of one size.
type batch struct {
	size    int
	headers [batchLen]mmsghdr
	iovecs  [batchLen]unix.Iovec
	memory  []byte

	names []unix.RawSockaddrInet4 // that datagrams go to in turn; nil where the socket says it
	next  int                     // of them
}

// newBatch has room for one byte more in each datagram, so that a longer one
// is noticed.
func newBatch(size int) *batch {
	b := &batch{size: size, memory: make([]byte, batchLen*(size+1))}
	for i := range b.headers {
		b.iovecs[i].Base = &b.memory[i*(size+1)]
		b.headers[i].hdr.Iov = &b.iovecs[i]
		b.headers[i].hdr.SetIovlen(1)
	}
	return b
}

// to has datagrams go to one of the names after the other.
func (b *batch) to(names []unix.RawSockaddrInet4) { b.names = names }

// address gives the next n datagrams their names.
func (b *batch) address(n int) {
	for i := range n {
		name := &b.names[(b.next+i)%len(b.names)]
		b.headers[i].hdr.Name, b.headers[i].hdr.Namelen = (*byte)(unsafe.Pointer(name)), unix.SizeofSockaddrInet4
	}
}

// send sends n datagrams and returns how many the kernel took.
func (b *batch) send(fd, n int) (int, error) {
	for i := range n {
		b.iovecs[i].SetLen(b.size)
	}
	if b.names != nil {
		b.address(n)
	}
	for {
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), uintptr(n), 0, 0, 0)
		switch errno {
		case 0:
			b.next += int(sent)
			return int(sent), nil
		case unix.EINTR:
		default:
			return 0, fmt.Errorf("sendmmsg: %w", errno)
		}
	}
}

// receive waits for one datagram at least, as long as the socket's time limit
// lets it, and returns how many came.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.iovecs {
		b.iovecs[i].SetLen(b.size + 1)
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), batchLen, unix.MSG_WAITFORONE, 0, 0)
	switch errno {
	case 0:
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	default:
		return 0, fmt.Errorf("recvmmsg: %w", errno)
	}
	for i := range int(n) {
		if got := int(b.headers[i].len); got != b.size {
			return 0, fmt.Errorf("a datagram of %d bytes arrived, of %d were sent", got, b.size)
		}
	}
	return int(n), nil
}
