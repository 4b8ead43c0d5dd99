package control

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRunDirFromEnv(t *testing.T) {
	t.Setenv(EnvRunDir, "")
	if dir, err := RunDirFromEnv(); err != nil || dir != "/run/weft" {
		t.Errorf("without %s: %q, %v", EnvRunDir, dir, err)
	}
	base := t.TempDir()
	t.Chdir(base)
	t.Setenv(EnvRunDir, "run")
	dir, err := RunDirFromEnv()
	if err != nil || string(dir) != filepath.Join(base, "run") {
		t.Errorf("%s=run: %q, %v, want it below %s", EnvRunDir, dir, err, base)
	}
	if got := dir.Socket(4026531840); got != filepath.Join(base, "run", "4026531840.sock") {
		t.Errorf("socket %s", got)
	}
}

func TestCreateRunDir(t *testing.T) {
	dir := RunDir(filepath.Join(t.TempDir(), "a", "weft"))
	for _, want := range []bool{true, false} {
		created, err := dir.Create()
		if err != nil || created != want {
			t.Fatalf("created %v, %v, want %v", created, err, want)
		}
	}
	info, err := os.Stat(string(dir))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v, want mode 0755", info.Mode(), err)
	}
}

func TestCreateRunDirSaysWhatHelps(t *testing.T) {
	long := RunDir("/" + strings.Repeat("d", maxSocketPath))
	if _, err := long.Create(); err == nil || !strings.Contains(err.Error(), "too long") || !strings.Contains(err.Error(), EnvRunDir) {
		t.Errorf("long path: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := RunDir(filepath.Join(file, "weft")).Create(); err == nil || !strings.Contains(err.Error(), EnvRunDir) {
		t.Errorf("below a file: %v", err)
	}
}

func TestSockets(t *testing.T) {
	dir := RunDir(t.TempDir())
	for _, name := range []string{"1.sock", "2.sock", "1.log", "1.lock"} {
		if err := os.WriteFile(filepath.Join(string(dir), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := dir.Sockets()
	if want := []string{dir.Socket(1), dir.Socket(2)}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if got, err := RunDir(dir.Log(9)).Sockets(); len(got) != 0 || err != nil {
		t.Errorf("of no directory: %v, %v", got, err)
	}
}

func TestNetNSIsTheProcessOwn(t *testing.T) {
	inode, err := NetNS()
	if err != nil {
		t.Fatal(err)
	}
	link, err := os.Readlink("/proc/self/ns/net")
	if want := fmt.Sprintf("net:[%d]", inode); err != nil || link != want {
		t.Errorf("/proc/self/ns/net is %s, %v, want %s", link, err, want)
	}
}
