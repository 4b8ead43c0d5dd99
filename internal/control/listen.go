package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen binds the control socket path with mode 0600 in place of whatever is
// there. The caller holds the lock that says nobody else listens.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("replace the control socket of an ended daemon: %w", err)
	}
	cfg := net.ListenConfig{Control: restrict}
	l, err := cfg.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return l.(*net.UnixListener), nil
}

// restrict sets the mode that bind gives the socket's file, so that there is
// no moment in which others could connect. A umask would be the process's.
func restrict(_, _ string, raw syscall.RawConn) (err error) {
	ctlErr := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
	if ctlErr != nil {
		return ctlErr
	}
	return err
}
