//go:build linux

// Package vtep puts an end of a VXLAN link into a host of the lab: weft, run as
// a user runs it, or the kernel's own device, from one description.
package vtep

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/weftnet/weft/internal/lab"
)

// EnvProgram names the variable with the path of the weft that tests run where they
// say nothing else. It starts in two thirds of the time of a test binary.
const EnvProgram = "WEFT_BIN"

// actAsWeft makes a program that calls ActAsWeft be weft.
const actAsWeft = "WEFT_ACT_AS_WEFT"

// forTests says that this is a program that calls ActAsWeft, and so no weft but when
// it acts as one.
var forTests bool

// ActAsWeft turns this process into weft, whose main function is cli.Main, if a
// Weft without a Program started it. Test binaries call it first: so they need
// no other file, and the daemon that they start is of the same build. The
// function is an argument because the command line itself uses this package.
func ActAsWeft(weft func(args []string, stdin io.Reader, stdout, stderr io.Writer) int) {
	switch {
	case os.Getenv(actAsWeft) == "":
		forTests = true
	case slices.Equal(os.Args[1:], []string{promptWord}):
		_ = mainFunc(weft).serve(os.Stdin, os.Stdout)
		os.Exit(0)
	default:
		os.Exit(weft(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
}

// Weft is weft in a host.
type Weft struct {
	Host    *lab.Host
	Program string   // path; "" = this program, see ActAsWeft and EnvProgram
	Env     []string // beside this program's

	mu     sync.Mutex
	prompt *prompt // nil until a command comes that suits it
}

// Run runs one command to its end. Many of them run in one process; what has to be
// a process of its own is run by RunAlone.
func (w *Weft) Run(args ...string) (lab.Output, error) {
	if w.Program != "" || !forTests || !suits(args) {
		return w.RunAlone(args...)
	}
	p, err := w.ready()
	if err != nil {
		return lab.Output{}, err
	}
	return p.run(args)
}

// ready returns the process for commands that suit it.
func (w *Weft) ready() (*prompt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	env := w.asWeft()
	if w.prompt == nil || !slices.Equal(w.prompt.env, env) {
		var err error
		if w.prompt, err = newPrompt(w.Host, env); err != nil {
			return nil, err
		}
	}
	return w.prompt, nil
}

// RunAlone runs one command in a process of its own to its end.
func (w *Weft) RunAlone(args ...string) (lab.Output, error) {
	program, env := w.Line()
	return w.Host.Run(env, program, args...)
}

// Spawn starts one command and does not wait for its end.
func (w *Weft) Spawn(args ...string) (*lab.Process, error) {
	program, env := w.Line()
	return w.Host.Spawn(env, program, args...)
}

// Line is the program that is run, and what its environment has beside this
// program's.
func (w *Weft) Line() (path string, env []string) {
	path = w.Program
	if path == "" && forTests {
		path = os.Getenv(EnvProgram)
	}
	if path != "" {
		return path, w.Env
	}
	return itself, w.asWeft()
}

// itself is the file of this program.
const itself = "/proc/self/exe"

// asWeft is the environment in which this program is weft.
func (w *Weft) asWeft() []string { return append(slices.Clone(w.Env), actAsWeft+"=1") }

// Must runs one command that has to succeed, and returns what it printed.
func (w *Weft) Must(args ...string) (string, error) {
	out, err := w.Run(args...)
	if err == nil && out.Status != 0 {
		err = fmt.Errorf("status %d: %s", out.Status, strings.TrimSpace(out.Stderr))
	}
	if err != nil {
		return "", fmt.Errorf("%s: weft %s: %w", w.Host.Name, strings.Join(args, " "), err)
	}
	return out.Stdout, nil
}

// AddLink makes a link with the given addresses and brings it up. words are
// put behind those that describe v.
func (w *Weft) AddLink(v *lab.VXLAN, addrs []netip.Prefix, words ...string) error {
	if _, err := w.Must(Command(v, words...)...); err != nil {
		return err
	}
	return bringUp(w.Host, v.Name, addrs)
}

// AddKernelLink does the same with the kernel's device.
func AddKernelLink(h *lab.Host, v *lab.VXLAN, addrs []netip.Prefix) error {
	if err := h.AddKernelVXLAN(*v); err != nil {
		return err
	}
	return bringUp(h, v.Name, addrs)
}

func bringUp(h *lab.Host, dev string, addrs []netip.Prefix) error {
	var errs []error
	for _, p := range addrs {
		errs = append(errs, h.AddAddr(dev, p))
	}
	return errors.Join(append(errs, h.SetUp(dev))...)
}

// Command is the line that `ip link add` would have for v, without the ip.
func Command(v *lab.VXLAN, words ...string) []string {
	line := []string{"link", "add", v.Name}
	add := func(given bool, words ...string) {
		if given {
			line = append(line, words...)
		}
	}
	add(v.MTU != 0, "mtu", strconv.Itoa(v.MTU))
	add(v.Address != nil, "address", v.Address.String())
	add(true, "type", "vxlan", "id", number(v.ID), "dstport", number(v.Port))
	add(v.Remote.IsValid(), remoteWord(v.Remote), v.Remote.String())
	add(v.Local.IsValid(), "local", v.Local.String())
	add(v.Dev != "", "dev", v.Dev)
	add(v.SrcPortLow != 0 || v.SrcPortHigh != 0, "srcport", number(v.SrcPortLow), number(v.SrcPortHigh))
	add(v.TTL != 0, "ttl", number(v.TTL))
	add(v.TTLInherit, "ttl", "inherit")
	add(v.TOS > 1, "tos", strconv.FormatUint(uint64(v.TOS), 16)) // hexadecimal, as ip takes it
	add(v.TOS == 1, "tos", "inherit")
	add(v.DF == lab.DFSet, "df", "set")
	add(v.DF == lab.DFInherit, "df", "inherit")
	add(v.FlowLabel != 0, "flowlabel", number(v.FlowLabel))
	add(v.NoLearning, "nolearning")
	add(v.Ageing != 0, "ageing", number(v.Ageing))
	add(v.MaxAddress != 0, "maxaddress", number(v.MaxAddress))
	add(v.Proxy, "proxy")
	add(v.RSC, "rsc")
	add(v.L2Miss, "l2miss")
	add(v.L3Miss, "l3miss")
	add(v.NoUDPCSum, "noudpcsum")
	add(v.UDP6ZeroCSumTx, "udp6zerocsumtx")
	add(v.UDP6ZeroCSumRx, "udp6zerocsumrx")
	return append(line, words...)
}

// remoteWord is what ip calls such an address.
func remoteWord(addr netip.Addr) string {
	if addr.IsMulticast() {
		return "group"
	}
	return "remote"
}

func number[T ~uint8 | ~uint16 | ~uint32](n T) string { return strconv.FormatUint(uint64(n), 10) }
