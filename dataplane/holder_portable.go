//go:build !linux || portable

package dataplane

import (
	"errors"
	"fmt"
	"syscall"
)

// bufferLimit is what bounds a socket's receive buffer, as a remedy.
const bufferLimit = "the system's limit for it (kern.ipc.maxsockbuf on macOS)"

// explainListen says that the port is taken: not by whom, which takes the
// system's own tools.
func explainListen(cfg *LinkConfig, err error) error {
	port := cfg.Port
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("UDP port %d: %w", port, err)
	}
	return fmt.Errorf("UDP port %d is held by another program: stop it or choose another %s: %w", port, cfg.portWord(), err)
}
