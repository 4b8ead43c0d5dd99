//go:build linux

package lab

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// LackOfTunnelGSO says why a TAP device cannot be written tunnelled
// super-frames to that a BPF program redirects; nil if it can.
func LackOfTunnelGSO() *Lack {
	if l := lackOfTUN(); l != nil {
		return l
	}
	if l := lackOfLinux(6, 17, "tunnelled super-frames of a TAP device"); l != nil {
		return l
	}
	if err := loadBPF(); err != nil {
		return &Lack{What: "BPF programs on network devices", Why: err, Remedy: "run as root, not in a user namespace"}
	}
	return nil
}

// NeedTunnelGSO leaves the test out where that is so.
func NeedTunnelGSO(t TB) { t.Helper(); need(t, LackOfTunnelGSO()) }

// The smallest program that a device can have: r0 = 0; exit. The kernel is told
// where it is by number, so it is where nothing moves.
var (
	bpfCode    = [...][8]byte{{0xb7}, {0x95}}
	bpfLicense [1]byte
)

// loadBPF loads the program, and lets go of it.
func loadBPF() error {
	// The beginning of union bpf_attr for BPF_PROG_LOAD.
	attr := struct {
		kind, instructions uint32
		code, license      uint64
	}{unix.BPF_PROG_TYPE_SCHED_CLS, uint32(len(bpfCode)), address(&bpfCode), address(&bpfLicense)}
	for {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		switch errno {
		case 0:
			return unix.Close(int(fd))
		case unix.EAGAIN: // a signal came, as the runtime sends them
		default:
			return errno
		}
	}
}

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
