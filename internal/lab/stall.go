//go:build linux

package lab

import (
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// Staller has cores stand still, as a machine's host does that has other work for them.
type Staller struct {
	link  link.Link
	times *ebpf.Map
}

// Stall has the core stand still for about 0.6 ms with one in 256 packets that a device
// sends, or receives, behind the programs that are on the device by now.
func (h *Host) Stall(device string, receives bool) (s *Staller, err error) {
	err = h.Do(func() error {
		s, err = stallOn(device, receives)
		return err
	})
	return s, err
}

func stallOn(device string, receives bool) (*Staller, error) {
	d, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	s := &Staller{}
	if s.times, err = ebpf.NewMap(&ebpf.MapSpec{Name: "stalls", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		return nil, err
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "stall", Type: ebpf.SchedCLS, Instructions: s.program()})
	if err == nil {
		defer p.Close()
		at := ebpf.AttachTCXEgress
		if receives {
			at = ebpf.AttachTCXIngress
		}
		s.link, err = link.AttachTCX(link.TCXOptions{Interface: d.Index, Program: p, Attach: at})
	}
	if err != nil {
		s.times.Close()
		return nil, err
	}
	return s, nil
}

// program passes every packet on.
func (s *Staller) program() asm.Instructions {
	const (
		oneIn = 256
		turns = 20000 // some 30 ns each
	)
	return asm.Instructions{
		asm.FnGetPrandomU32.Call(), asm.And.Imm(asm.R0, oneIn-1), asm.JNE.Imm(asm.R0, 0, "next"),
		asm.LoadMapValue(asm.R1, s.times.FD(), 0), asm.Mov.Imm(asm.R2, 1), asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
		asm.Mov.Imm(asm.R6, turns),
		asm.FnKtimeGetNs.Call().WithSymbol("turn"), asm.Sub.Imm(asm.R6, 1), asm.JNE.Imm(asm.R6, 0, "turn"),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("next"), asm.Return(), // TCX_NEXT
	}
}

// Stalls is how often a core has stood still.
func (s *Staller) Stalls() (n int, err error) {
	var times uint64
	err = s.times.Lookup(uint32(0), &times)
	return int(times), err
}

// Close ends it.
func (s *Staller) Close() {
	s.link.Close()
	s.times.Close()
}
