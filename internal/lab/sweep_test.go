//go:build linux

package lab

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// What is swept is the namespace of the process that has ended, and no other that has
// got its number since.
func TestHoldNamespace(t *testing.T) {
	runtime.LockOSThread() // with which those end that it starts
	defer runtime.UnlockOSThread()
	begin := func() *exec.Cmd {
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	end := func(cmd *exec.Cmd) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	first := begin()
	held, release := holdNamespace(first.Process.Pid, "mnt")
	defer release()
	if held == "" || held != namespaceOf(first.Process.Pid, "mnt") || held == namespaceOf(syscall.Getpid(), "mnt") {
		t.Fatalf("held is %q", held)
	}
	end(first)
	for range 20 {
		next := begin()
		name := namespaceOf(next.Process.Pid, "mnt")
		end(next)
		if name == held {
			t.Fatalf("%s is another process's by now", held)
		}
	}
}
