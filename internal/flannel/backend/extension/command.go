package extension

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// timeout is of one command. flannel waits for ever, and serves no node
	// meanwhile.
	timeout = time.Minute

	// grace is how long a command that was told to end, or children that one
	// leaves behind, may keep its output open.
	grace = 2 * time.Second

	// outputLimit is above what etcd takes for a value.
	outputLimit = 2 << 20
)

// command is one of the config's.
type command struct {
	key, text string // PreStartupCommand, and what it says
	limit     time.Duration
}

// check says what is wrong with the command before it is needed.
func (c command) check() error {
	if _, err := words(c.text, os.Getenv); err != nil {
		return fmt.Errorf("%s %q: %w", c.key, c.text, err)
	}
	return nil
}

// given reports whether the config has the command.
func (c command) given() bool { return strings.TrimSpace(c.text) != "" }

// run runs the command with more variables and with a line on standard input,
// and returns what it printed on standard output, without white space around.
func (c command) run(ctx context.Context, env []string, stdin string) (string, error) {
	env = append(os.Environ(), env...)
	argv, err := words(c.text, lookup(env))
	if err != nil {
		return "", fmt.Errorf("%s %q: %w", c.key, c.text, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("it did not end within %v", c.limit))
	defer cancel()
	var stdout, stderr limited
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(stdin+"\n"), &stdout, &stderr
	// What a script started is told to end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	err = cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // whoever did not
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil { // it left a process behind, as it may
		if stdout.over {
			return "", fmt.Errorf("%s %q: it printed more than %d MB", c.key, c.text, outputLimit>>20)
		}
		return stdout.String(), nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return "", c.failed(err, &stdout, &stderr)
}

// failed says what a person would have seen.
func (c command) failed(err error, stdout, stderr *limited) error {
	said := stderr.String()
	if said == "" {
		said = stdout.String()
	}
	if said == "" {
		said = "it printed nothing"
	}
	return fmt.Errorf("%s %q: %w: %s", c.key, c.text, err, said)
}

func lookup(env []string) func(string) string {
	return func(name string) string {
		for i := len(env) - 1; i >= 0; i-- { // the last one counts, as for the command
			if value, ok := strings.CutPrefix(env[i], name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// limited keeps the beginning of what is written.
type limited struct {
	kept []byte
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), outputLimit-len(l.kept))
	l.kept = append(l.kept, p[:n]...)
	l.over = l.over || n < len(p)
	return len(p), nil
}

func (l *limited) String() string { return strings.TrimSpace(string(l.kept)) }
