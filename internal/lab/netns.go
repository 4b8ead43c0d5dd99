//go:build linux

package lab

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// errLeft is what a function run in a namespace is said to have returned when
// it ended its goroutine instead, as t.FailNow does.
var errLeft = errors.New("the function ended its goroutine (runtime.Goexit) instead of returning")

// inNamespace runs f on a thread of its own in ns and waits for it. f must not
// rely on goroutines that it starts being in ns: they are not.
func inNamespace(ns netns.NsHandle, f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errLeft
		defer func() { done <- err }()
		leave, e := enterThread(ns)
		if e != nil {
			err = e
			return
		}
		defer leave()
		err = f()
	}()
	return <-done
}

// enterThread locks the calling goroutine to its thread and moves that into
// ns. leave moves it back; a thread that cannot go back stays locked, so that
// the runtime ends it with its goroutine and nobody else ever runs in ns by
// mistake.
func enterThread(ns netns.NsHandle) (leave func(), err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("opening the current network namespace: %w", err)
	}
	leave = func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		_ = home.Close()
	}
	if err := netns.Set(ns); err != nil {
		leave()
		return nil, fmt.Errorf("entering network namespace: %w", err)
	}
	return leave, nil
}

// newNamespace makes a network namespace. The thread that made it is moved
// back at once; the descriptor alone keeps it.
func newNamespace() (netns.NsHandle, error) {
	home, err := netns.Get()
	if err != nil {
		return netns.None(), fmt.Errorf("opening the current network namespace: %w", err)
	}
	defer func() { _ = home.Close() }()
	made := netns.None()
	err = inNamespace(home, func() error {
		made, err = netns.New()
		return err
	})
	if err != nil {
		return netns.None(), fmt.Errorf("making a network namespace: %w", err)
	}
	return made, nil
}
