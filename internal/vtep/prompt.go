//go:build linux

package vtep

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/weftnet/weft/internal/lab"
)

// prompt is a weft in a host that runs one command after another, each as a
// process of its own would. To start a process takes a core 60 to 90 ms, most of
// it before main, which was two fifths of what tests of many commands took.
type prompt struct {
	mu       sync.Mutex
	env      []string // that it was started with
	commands *gob.Encoder
	outputs  *gob.Decoder
}

// promptWord alone on the command line has ActAsWeft wait for commands.
const promptWord = "@prompt"

// mainFunc is the main function of a program but for the end of its process.
type mainFunc func(args []string, stdin io.Reader, stdout, stderr io.Writer) int

// suits reports whether a command ends by itself and starts no other process:
// what does not stays with processes of its own.
func suits(args []string) bool {
	if len(args) < 2 {
		return false
	}
	switch args[0] {
	case "fdb", "route", "stats":
		return true
	case "link":
		return slices.Contains([]string{"show", "set", "del"}, args[1])
	}
	return false
}

// newPrompt starts one. It ends with the host.
func newPrompt(h *lab.Host, env []string) (*prompt, error) {
	cmd := exec.Command(itself, promptWord)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	commands, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	outputs, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.Start(cmd); err != nil {
		return nil, fmt.Errorf("host %s: running weft: %w", h.Name, err)
	}
	go func() { _ = cmd.Wait() }() // it is told to end, and so ends by a signal
	return &prompt{env: env, commands: gob.NewEncoder(commands), outputs: gob.NewDecoder(outputs)}, nil
}

// run runs one command to its end.
func (p *prompt) run(args []string) (out lab.Output, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := errors.Join(p.commands.Encode(args), p.outputs.Decode(&out)); err != nil {
		return out, fmt.Errorf("weft %s: its process has ended: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// serve runs the commands that come from in until there are no more.
func (weft mainFunc) serve(in io.Reader, out io.Writer) error {
	commands, outputs := gob.NewDecoder(in), gob.NewEncoder(out)
	for {
		var args []string
		if err := commands.Decode(&args); err != nil {
			return err
		}
		var stdout, stderr bytes.Buffer
		status := weft(append([]string{"weft"}, args...), strings.NewReader(""), &stdout, &stderr)
		if err := outputs.Encode(lab.Output{Stdout: stdout.String(), Stderr: stderr.String(), Status: status}); err != nil {
			return err
		}
	}
}
