package cli

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// dirChanges tells which files are made in a directory, which itself need not
// exist yet.
type dirChanges struct {
	dir   string
	file  *os.File // of inotify(7)
	fd    int      // its descriptor: File.Fd would make reads block in the kernel
	names chan []string
}

func newDirChanges(dir string) (*dirChanges, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch for daemons: %w; fs.inotify.max_user_instances bounds how many programs may", err)
	}
	return &dirChanges{dir: dir, file: os.NewFile(uintptr(fd), "inotify"), fd: fd, names: make(chan []string)}, nil
}

// extend watches the directory or, as long as it does not exist, the nearest
// one above it that does. Watching a directory twice is watching it once.
func (c *dirChanges) extend() error {
	missing := ""
	for path := c.dir; ; path = filepath.Dir(path) {
		_, err := unix.InotifyAddWatch(c.fd, path, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
		switch {
		case errors.Is(err, unix.ENOENT) && path != filepath.Dir(path):
			missing = path
			continue
		case err != nil:
			return fmt.Errorf("watch for daemons: directory %s: %w", path, err)
		case missing == "":
			return nil
		}
		if _, err := os.Lstat(missing); err != nil {
			return nil
		}
		return c.extend() // it was made in the meantime
	}
}

// read sends the names of files as they are made until close is called or ctx
// ends. Names may be few or none: then something else has changed.
func (c *dirChanges) read(ctx context.Context) {
	buf := make([]byte, 16<<10)
	for {
		n, err := c.file.Read(buf)
		if err != nil {
			return
		}
		select {
		case c.names <- namesOf(buf[:n]):
		case <-ctx.Done():
			return
		}
	}
}

func (c *dirChanges) close() { c.file.Close() }

// namesOf reads the names of events: each is a header of 16 bytes, the last
// four of which are the length of the name with its padding of zeros.
func namesOf(events []byte) []string {
	var names []string
	for len(events) >= unix.SizeofInotifyEvent {
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		if end > len(events) {
			break
		}
		if name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00"); name != "" {
			names = append(names, name)
		}
		events = events[end:]
	}
	return names
}
