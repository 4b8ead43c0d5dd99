//go:build linux

package lab

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Core chooses one of the processors that this process may run on.
type Core func(allowed *unix.CPUSet) int

// FirstCore is the one with the lowest number.
func FirstCore(allowed *unix.CPUSet) int {
	for cpu := range maxCores {
		if allowed.IsSet(cpu) {
			return cpu
		}
	}
	return 0
}

// LastCore is the one with the highest number.
func LastCore(allowed *unix.CPUSet) int {
	for cpu := maxCores - 1; cpu > 0; cpu-- {
		if allowed.IsSet(cpu) {
			return cpu
		}
	}
	return 0
}

// maxCores is what a unix.CPUSet has room for.
const maxCores = 1024

// OnCore runs f on a thread of its own that keeps to one core, as far as the
// machine lets it, and sends what f returns.
func OnCore(which Core, f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		var allowed, one unix.CPUSet
		if unix.SchedGetaffinity(0, &allowed) == nil {
			one.Set(which(&allowed))
			_ = unix.SchedSetaffinity(0, &one)
		}
		done <- f()
	}()
	return done
}
