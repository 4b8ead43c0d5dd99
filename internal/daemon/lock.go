package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// errHeld says that another daemon, or somebody about to start one, holds the
// lock.
var errHeld = errors.New("another daemon serves this network namespace")

// pollInterval is how often a file that others hold is looked at again.
const pollInterval = 5 * time.Millisecond

// lock is the right to be the one daemon of a network namespace. It belongs to
// the open file, so that a child that inherits the descriptor inherits the
// right, and it ends with the last process that holds it, however that ends.
type lock struct {
	file *os.File
}

// takeLock takes the lock at path, or returns errHeld. The file may have been
// unlinked by its last owner between open and flock: then it is no longer the
// lock, and the next one is tried.
func takeLock(path string) (*lock, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			file.Close()
			return nil, notLocked(path, err)
		}
		if isAt(file, path) {
			return &lock{file}, nil
		}
		file.Close()
	}
}

func notLocked(path string, err error) error {
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errHeld
	}
	return fmt.Errorf("lock %s: %w", path, err)
}

// awaitLock takes the lock at path as soon as it is free, until ctx ends.
func awaitLock(ctx context.Context, path string) (*lock, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		l, err := takeLock(path)
		if !errors.Is(err, errHeld) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// isAt reports whether file is what path names.
func isAt(file *os.File, path string) bool {
	own, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(own, there)
}

// sign writes the owner's process id into the file, for people.
func (l *lock) sign() {
	if l.file.Truncate(0) == nil {
		_, _ = l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
}

// release gives the right up and leaves no file.
func (l *lock) release(path string) {
	if isAt(l.file, path) {
		_ = os.Remove(path)
	}
	l.file.Close()
}

// holder names who holds the lock at path, as far as the file tells.
func holder(path string) string {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || len(text) == 0 {
		return "unknown"
	}
	return string(text[:len(text)-1])
}
