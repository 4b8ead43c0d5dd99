//go:build linux

package lab

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// endLimit is how long a process may take to end by itself after SIGTERM.
const endLimit = 3 * time.Second

// namespaceOf names a process's namespace of a kind ("net", "mnt") as
// "net:[inode]"; "" if it is gone, and a zombie has none either.
func namespaceOf(pid int, kind string) string {
	name, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind))
	return name
}

// holdNamespace names a process's namespace too, and keeps it until it is released:
// when the last process in one ends, its number is given to the next that is made,
// which is somebody else's.
func holdNamespace(pid int, kind string) (name string, release func()) {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind))
	if err != nil {
		return "", func() {}
	}
	name, _ = os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(int(f.Fd()))))
	return name, func() { _ = f.Close() }
}

// processesIn lists the processes in a namespace, this one left out.
func processesIn(kind, ns string) []int {
	if ns == "" {
		return nil
	}
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != os.Getpid() && namespaceOf(pid, kind) == ns {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endProcesses ends whatever still runs in a namespace that the lab made, such
// as a daemon that put itself into the background: SIGTERM first, SIGKILL to
// those that stay.
func endProcesses(kind, ns string) {
	signalAll(processesIn(kind, ns), syscall.SIGTERM)
	gone := func() error {
		if len(processesIn(kind, ns)) > 0 {
			return syscall.EBUSY
		}
		return nil
	}
	if Eventually(endLimit, gone) != nil {
		signalAll(processesIn(kind, ns), syscall.SIGKILL)
		_ = Eventually(endLimit, gone)
	}
}

func signalAll(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s)
	}
}
