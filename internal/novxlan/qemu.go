package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// qemuOptions describe one virtual machine.
type qemuOptions struct {
	accel  string
	memory int // MiB
	kernel string
	initrd string
}

func (q qemuOptions) args() []string {
	return []string{
		"-accel", q.accel, "-cpu", "max", "-smp", "2", "-m", strconv.Itoa(q.memory),
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", q.kernel, "-initrd", q.initrd,
		// loglevel=2 keeps kernel messages, panics aside, out of the tests' lines. panic=-1 restarts at once, which -no-reboot turns into an end.
		"-append", "console=ttyS0 loglevel=2 panic=-1",
	}
}

// boot runs the machine until it powers off, handing over each line of its serial console. When ctx ends first, the error is its cause.
func (q qemuOptions) boot(ctx context.Context, line func(string)) error {
	cmd := exec.CommandContext(ctx, qemuProgram, q.args()...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	console, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", qemuProgram, err)
	}
	scanErr := relay(bufio.NewScanner(console), line)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%s: %w", qemuProgram, err)
	}
	return scanErr
}

func relay(lines *bufio.Scanner, line func(string)) error {
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line(strings.TrimRight(lines.Text(), "\r"))
	}
	return lines.Err()
}
