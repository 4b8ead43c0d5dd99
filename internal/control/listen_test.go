package control

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "1.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != os.ModeSocket|0o600 {
		t.Errorf("mode %v, want a socket of mode 0600", got)
	}
}

func TestListenReplacesTheSocketOfAnEndedDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.sock")
	abandon(t, path)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	l.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there after Close: %v", err)
	}
}

// Should somebody widen the socket's mode, the daemon itself asks who calls.
func TestOtherUsersAreRefused(t *testing.T) {
	dir := openDir(t)
	path := filepath.Join(dir, "1.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	asked := false
	server := NewServer(func(*Exchange) Response { asked = true; return Done() })
	go server.Serve(l)
	conn := NewConn(dialAs(t, 65534, path))
	defer conn.Close()
	resp, err := conn.Call(within(t), Request{Op: OpList})
	server.Close()
	if err != nil || resp.OK || asked || !strings.Contains(resp.Error, "user 65534 may not") {
		t.Fatalf("response %+v, %v; handled %v", resp, err, asked)
	}
}

// openDir is a directory that every user may enter, unlike t.TempDir.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// dialAs connects as another user. A thread has credentials of its own; the
// one that changed them is never used again.
func dialAs(t *testing.T, uid int, path string) net.Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; run as root")
	}
	file := make(chan *os.File)
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		f, err := connectAs(uid, path)
		if err != nil {
			failed <- err
			return
		}
		file <- f
	}()
	select {
	case err := <-failed:
		t.Skipf("become user %d: %v; run where it exists", uid, err)
	case f := <-file:
		defer f.Close()
		conn, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		return conn
	}
	return nil
}

func connectAs(uid int, path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return nil, errno
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}
