//go:build !portable

package injector

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// program hands what the interface receives to the device that the frame
// names.
type program struct {
	loaded *ebpf.Program
	link   link.Link // nil until it is attached
}

// Offsets in struct __sk_buff (linux/bpf.h).
const (
	skbQueueMapping = 12
	skbData         = 76
	skbDataEnd      = 80
)

const tcActShot = 2 // TC_ACT_SHOT: drop

// redirect is the program:
//
//	skb->queue_mapping = 0
//	if (skb->data + 14 > skb->data_end) drop
//	return bpf_redirect_neigh(*(u32 *)(skb->data + ifIndexAt), NULL, 0, 0)
//
// The queue of the TAP interface must not choose the underlay device's: with 0
// it is chosen as for what this thread sends by a socket, so a flow's frames
// of both kinds stay in one queue and in order.
func redirect() asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.R1, skbQueueMapping, 0, asm.Word),
		asm.LoadMem(asm.R2, asm.R1, skbData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, skbDataEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, etherHeaderLen),
		asm.JGT.Reg(asm.R4, asm.R3, "short"),
		asm.LoadMem(asm.R1, asm.R2, ifIndexAt, asm.Word),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRedirectNeigh.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcActShot).WithSymbol("short"),
		asm.Return(),
	}
}

// loadProgram loads the program. It wants CAP_BPF (or CAP_SYS_ADMIN) and
// CAP_NET_ADMIN, and those in the first user namespace.
func loadProgram() (*program, error) {
	loaded, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "weft_tx",
		Type:         ebpf.SchedCLS,
		Instructions: redirect(),
	})
	if errors.Is(err, os.ErrPermission) {
		// What the library says beside it is about kernels before 5.11.
		return nil, errors.New("a BPF program may not be loaded: CAP_BPF is needed, outside of user namespaces")
	}
	if err != nil {
		return nil, fmt.Errorf("load a BPF program: %w", err)
	}
	return &program{loaded: loaded}, nil
}

// attach has the program run on what an interface receives (tcx, Linux 6.6).
func (p *program) attach(ifIndex int) (err error) {
	p.link, err = link.AttachTCX(link.TCXOptions{Interface: ifIndex, Program: p.loaded, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return fmt.Errorf("attach a BPF program: %w", err)
	}
	return nil
}

func (p *program) close() error {
	if p.link == nil {
		return p.loaded.Close()
	}
	return errors.Join(p.link.Close(), p.loaded.Close())
}
