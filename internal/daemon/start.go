package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/control"
)

// BackgroundFlag is the hidden flag of `weft daemon` that selects Background.
const BackgroundFlag = "background"

// child is a daemon that this process has started, and how to talk to it.
type child struct {
	conn    *control.Conn
	process *os.Process
	log     string // path
	logFrom int64  // where its part of the log begins, in bytes
}

// start runs this program as a daemon in a session of its own, which then
// holds owned too. It does not wait: the first request on child.conn does.
func start(dir control.RunDir, netns uint64, owned *lock) (*child, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	c := &child{conn: control.NewConn(ours), log: dir.Log(netns)}
	if err := c.run(dir, owned.file, theirs); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	return c, nil
}

func (c *child) run(dir control.RunDir, owned, theirs *os.File) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	log, err := os.OpenFile(c.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if c.logFrom, err = log.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	keepToOurselves()
	c.process, err = os.StartProcess(program(), []string{"weft", "daemon", "--" + BackgroundFlag}, &os.ProcAttr{
		Dir:   "/",
		Env:   environment(dir),
		Files: []*os.File{null, log, log, owned, theirs},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil && c.logFrom == 0 {
		_ = os.Remove(c.log)
	}
	return err
}

// wait returns when the daemon's process has ended, or ctx has.
func (c *child) wait(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.process.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// lastWords tells from the log why the daemon ended without an answer.
func (c *child) lastWords() error {
	text, err := os.ReadFile(c.log)
	if err != nil || int64(len(text)) <= c.logFrom {
		return errors.New("the daemon ended at once and said nothing")
	}
	return fmt.Errorf("the daemon ended at once: %s; more is in %s", telling(string(text[c.logFrom:])), c.log)
}

// telling picks the line of a log that says why a program ended: that of a
// panic, or else the last.
func telling(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line
		}
	}
	return lines[len(lines)-1]
}

// program is this program's file. The link in /proc serves when the file was
// replaced or deleted, but names the process "exe".
func program() string {
	path, err := os.Executable()
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "/proc/self/exe"
	}
	return path
}

// environment makes the run directory absolute, since the daemon's working
// directory is another, and leaves out what is an agent's alone: passwords, and
// the socket of a service manager that has not started the daemon.
func environment(dir control.RunDir) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == control.EnvRunDir || name == "NOTIFY_SOCKET" || strings.HasPrefix(name, "FLANNELD_")
	})
	return append(env, control.EnvRunDir+"="+string(dir))
}

// keepToOurselves marks every descriptor that this process was given, such as
// a terminal or a pipe that somebody reads to its end, as not for the daemon.
func keepToOurselves() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "daemon"), os.NewFile(uintptr(fds[1]), "starter")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}
