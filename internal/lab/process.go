//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Start starts a command in the host. It ends with this program, and Close
// ends it. Of /sys it sees the world's, not the host's.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error, 1)
	select {
	case h.calls <- func() { started <- cmd.Start() }:
		return <-started
	case <-h.served:
		return fmt.Errorf("host %s is closed", h.Name)
	}
}

// Output is what a command left when it ended.
type Output struct {
	Stdout, Stderr string
	Status         int // as a shell's $?; -1 while it runs
}

// Run runs a command in the host to its end. env is added to this program's
// environment. The error is about running it; a failed command has a Status.
// A process that the command leaves in the background does not keep Run.
func (h *Host) Run(env []string, name string, args ...string) (Output, error) {
	p, err := h.Spawn(env, name, args...)
	if err != nil {
		return Output{}, err
	}
	<-p.ended
	return p.output(), nil
}

// Process is a command that runs in a host.
type Process struct {
	cmd            *exec.Cmd
	stdout, stderr *os.File
	ended          chan struct{}
	err            error // of cmd.Wait; valid once ended is closed
}

// Spawn starts a command in the host and keeps what it prints. env is added to
// this program's environment. Closing the host ends the process and gives up
// what it printed.
func (h *Host) Spawn(env []string, name string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.start(h); err != nil {
		return nil, fmt.Errorf("host %s: running %s: %w", h.Name, name, err)
	}
	h.mu.Lock()
	h.processes = append(h.processes, p)
	h.mu.Unlock()
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *Process) start(h *Host) error {
	var err error
	if p.stdout, err = memoryFile("stdout"); err != nil {
		return err
	}
	if p.stderr, err = memoryFile("stderr"); err == nil {
		p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
		err = h.Start(p.cmd)
	}
	if err != nil {
		p.closeFiles()
	}
	return err
}

// memoryFile holds a process's output. With a pipe instead, a daemon that
// inherited the other end would keep the reader waiting for the rest.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory for its %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends it a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stdout is what it printed so far.
func (p *Process) Stdout() string { return contents(p.stdout) }

// Stderr is what it printed there so far.
func (p *Process) Stderr() string { return contents(p.stderr) }

func contents(f *os.File) string {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	return string(b)
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Wait waits for the end of the process.
func (p *Process) Wait(limit time.Duration) (Output, error) {
	select {
	case <-p.ended:
	case <-time.After(limit):
	}
	out := p.output()
	if out.Status < 0 {
		return out, fmt.Errorf("process %d still runs after %v", p.Pid(), limit)
	}
	return out, nil
}

// Stop asks the process to end (SIGTERM), and kills it if it does not.
func (p *Process) Stop() (Output, error) {
	_ = p.Signal(syscall.SIGTERM)
	out, err := p.Wait(endLimit)
	if err == nil {
		return out, nil
	}
	_ = p.Signal(syscall.SIGKILL)
	out, killed := p.Wait(endLimit)
	return out, errors.Join(fmt.Errorf("SIGTERM did not end it: %w", err), killed)
}

func (p *Process) output() Output {
	out := Output{Stdout: p.Stdout(), Stderr: p.Stderr(), Status: -1}
	select {
	case <-p.ended:
		out.Status = exitStatus(p.err)
	default:
	}
	return out
}

// release ends the process if it still runs, and gives up its output.
func (p *Process) release() error {
	_, err := p.Stop()
	p.closeFiles()
	return err
}

func (p *Process) closeFiles() {
	_ = p.stdout.Close()
	if p.stderr != nil {
		_ = p.stderr.Close()
	}
}
