package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// EnvRunDir names the environment variable that moves the run directory.
const EnvRunDir = "WEFT_RUN_DIR"

const defaultRunDir = "/run/weft"

// maxSocketPath is what sockaddr_un holds without its closing zero byte.
const maxSocketPath = 107

// RunDir is the directory that holds, for each network namespace with a
// daemon, `<inode of the namespace>.sock`, `.lock` and `.log`.
type RunDir string

// RunDirFromEnv returns ${WEFT_RUN_DIR:-/run/weft} as an absolute path.
func RunDirFromEnv() (RunDir, error) {
	dir := os.Getenv(EnvRunDir)
	if dir == "" {
		dir = defaultRunDir
	}
	abs, err := filepath.Abs(dir)
	return RunDir(abs), err
}

// Socket returns the control socket of the namespace with the given inode.
func (d RunDir) Socket(netns uint64) string { return d.file(netns, ".sock") }

// Lock returns the file whose lock its daemon holds.
func (d RunDir) Lock(netns uint64) string { return d.file(netns, ".lock") }

// Log returns the file to which its daemon logs when started in the background.
func (d RunDir) Log(netns uint64) string { return d.file(netns, ".log") }

func (d RunDir) file(netns uint64, suffix string) string {
	return filepath.Join(string(d), strconv.FormatUint(netns, 10)+suffix)
}

// Sockets returns the control sockets of all namespaces, dead ones included.
// A run directory that does not exist holds none.
func (d RunDir) Sockets() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the run directory: %w", err)
	}
	var paths []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".sock" {
			paths = append(paths, filepath.Join(string(d), e.Name()))
		}
	}
	return paths, nil
}

// Create makes the directory where it is missing, and reports whether it was.
func (d RunDir) Create() (created bool, err error) {
	if len(d.Socket(1<<32-1)) > maxSocketPath {
		return false, fmt.Errorf("run directory %s: too long for the path of a socket (%d bytes); set %s to a shorter one",
			d, maxSocketPath, EnvRunDir)
	}
	if err := os.MkdirAll(filepath.Dir(string(d)), 0o755); err != nil {
		return false, d.notCreated(err)
	}
	err = os.Mkdir(string(d), 0o755)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, d.notCreated(err)
	}
	return true, nil
}

func (d RunDir) notCreated(err error) error {
	return fmt.Errorf("create the run directory: %w; run as root, or set %s to a directory that you may write", err, EnvRunDir)
}

// NetNS returns the inode of the calling thread's network namespace. In a
// process that changes no namespace this is that of /proc/self/ns/net.
func NetNS() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return 0, fmt.Errorf("find the network namespace: /proc/thread-self/ns/net: %w; is /proc mounted?", err)
	}
	return st.Ino, nil
}

// NetNSCookie returns what tells the calling thread's network namespace from all
// that there have been since the host was booted: the kernel gives the inode of one
// that is gone to another. It is 0 where the kernel does not tell, as before Linux
// 5.14.
func NetNSCookie() uint64 {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(fd) }()
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return cookie
}

// OtherNetNS reports whether two cookies are known to be of different namespaces: 0 may
// be that of any.
func OtherNetNS(a, b uint64) bool { return a != 0 && b != 0 && a != b }
