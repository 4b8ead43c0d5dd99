//go:build !portable

package shortcut

import (
	"fmt"
	"math/rand/v2"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// anchor is a socket by which a program knows the table's network namespace: it
// is found in this one alone, by its port, and has a mark that no other has. A
// device may be moved away with the program, and then the numbers of devices mean
// others. Nothing is ever received by it.
type anchor struct {
	fd   int
	port uint16
	mark int32
}

// open makes the socket in the calling thread's network namespace, be the loopback
// device up or not.
func (k *anchor) open() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	k.fd, k.mark = fd, rand.Int32()|1
	for _, option := range []struct{ level, name, value int }{
		{unix.SOL_IP, unix.IP_FREEBIND, 1},
		{unix.SOL_SOCKET, unix.SO_MARK, int(k.mark)},
		{unix.SOL_SOCKET, unix.SO_RCVBUF, 0},
	} {
		if err := unix.SetsockoptInt(fd, option.level, option.name, option.value); err != nil {
			return fmt.Errorf("a socket to know the namespace by: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("a socket to know the namespace by: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	k.port = uint16(name.(*unix.SockaddrInet4).Port)
	return nil
}

func (k *anchor) close() {
	if k.port != 0 || k.mark != 0 {
		_ = unix.Close(k.fd)
	}
	*k = anchor{}
}

// bpfSockMark is the offset of the mark in struct bpf_sock (linux/bpf.h).
const bpfSockMark = 16

// home waits unless the device that the program runs on is in the anchor's
// namespace. It wants two times 8 bytes of the stack.
func (k *anchor) home(a *assembler, tupleAt, markAt int16) {
	a.add(asm.Mov.Imm(asm.R4, network32(0x7f000001)))
	a.store(asm.RFP, tupleAt, asm.R4, asm.Word)
	a.store(asm.RFP, tupleAt+4, asm.R4, asm.Word)
	a.add(asm.Mov.Imm(asm.R4, network(k.port)<<16))
	a.store(asm.RFP, tupleAt+8, asm.R4, asm.Word)
	a.add(asm.Mov.Reg(asm.R1, rSkb), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, int32(tupleAt)), asm.Mov.Imm(asm.R3, 12),
		asm.Mov.Imm(asm.R4, -1), // BPF_F_CURRENT_NETNS: the device's
		asm.Mov.Imm(asm.R5, 0), asm.FnSkLookupUdp.Call(), asm.JEq.Imm(asm.R0, 0, toWait))
	a.load32(asm.R4, asm.R0, bpfSockMark)
	a.store(asm.RFP, markAt, asm.R4, asm.DWord)
	a.add(asm.Mov.Reg(asm.R1, asm.R0), asm.FnSkRelease.Call())
	a.load64(asm.R4, asm.RFP, markAt)
	a.unless(asm.R4, k.mark, toWait)
}
