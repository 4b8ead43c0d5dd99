//go:build linux

package lab

import (
	"errors"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

var lackOfShortcuts = sync.OnceValue(probeShortcuts)

// LackOfShortcuts says why the kernel cannot carry flows between devices by
// itself, by BPF programs on them; nil if it can.
func LackOfShortcuts() *Lack { return lackOfShortcuts() }

// NeedShortcuts leaves the test out where that is so.
func NeedShortcuts(t TB) { t.Helper(); need(t, LackOfShortcuts()) }

// probeShortcuts puts a program on a device.
func probeShortcuts() *Lack {
	if l := lackOfTUN(); l != nil {
		return l
	}
	h, err := NewHost("probe")
	if err == nil {
		err = errors.Join(h.Do(attachProbe), h.Close())
	}
	if err == nil {
		return nil
	}
	return &Lack{What: "BPF programs that carry flows (tcx, Linux 6.6)", Why: err, Remedy: "run Linux 6.6 or later, as root, not in a user namespace"}
}

// attachProbe uses the host's loopback.
func attachProbe() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, -1), asm.Return(), // TCX_NEXT
	}})
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := link.AttachTCX(link.TCXOptions{Interface: 1, Program: p, Attach: ebpf.AttachTCXEgress})
	if err != nil {
		return err
	}
	return l.Close()
}
