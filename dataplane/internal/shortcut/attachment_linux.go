//go:build !portable

package shortcut

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// attachment is a program on a device.
type attachment struct {
	program *ebpf.Program
	link    link.Link
}

func (p *attachment) load(name string, list asm.Instructions) (err error) {
	p.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.SchedCLS, Instructions: list})
	return err
}

// attach puts it behind those that are on the device already.
func (p *attachment) attach(device int, at ebpf.AttachType) (err error) {
	p.link, err = link.AttachTCX(link.TCXOptions{Interface: device, Program: p.program, Attach: at})
	return err
}

func (p *attachment) close() {
	if p.link != nil {
		p.link.Close()
	}
	if p.program != nil {
		p.program.Close()
	}
}
