//go:build linux

package xtables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPath is where iptables-legacy has its lock, unless XTABLES_LOCKFILE says
// otherwise.
const lockPath = "/run/xtables.lock"

// lockEvery is how often a lock that is taken is tried.
const lockEvery = 20 * time.Millisecond

// Lock takes iptables' lock and waits for it, so that a table does not change
// between reading and replacing it. The file is made where it is missing, as
// iptables does.
func Lock(ctx context.Context) (unlock func(), err error) {
	path := lockPath
	if other := os.Getenv("XTABLES_LOCKFILE"); other != "" {
		path = other
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("iptables' lock: %w", err)
	}
	ticker := time.NewTicker(lockEvery)
	defer ticker.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("iptables' lock %s: %w", path, err), f.Close())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("iptables' lock %s is held by another program: %w", path, ctx.Err()), f.Close())
		}
	}
}
