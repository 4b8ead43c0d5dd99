//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// The child knows by these that it is the one in the private world. The first
// holds the network namespace that was left, so that a variable which leaks
// into an unrelated process is not believed.
const (
	envOutside = "WEFT_LAB_OUTSIDE"
	envRunDir  = "WEFT_LAB_RUN_DIR"
)

// world is what every private world consists of; another user than root needs
// a user namespace besides.
const world = syscall.CLONE_NEWNS | syscall.CLONE_NEWNET

// Enter takes the program into a private world. Outside, it runs the program
// again inside and exits with that one's status, so it returns only if there
// is no world to be had; the error is then a *[Lack]. Inside, it prepares the
// world and returns nil. Call it first thing in main.
func Enter() error {
	if inside() {
		return prepareWorld()
	}
	child, err := startInside()
	if err != nil {
		return lackOfNamespaces(err)
	}
	os.Exit(attend(child))
	return nil
}

// inside reports whether this process was started by Enter.
func inside() bool {
	outer := os.Getenv(envOutside)
	return outer != "" && outer != threadNetNS()
}

// threadNetNS names the calling thread's network namespace, "net:[inode]".
// /proc/self would name the main thread's.
func threadNetNS() string {
	name, _ := os.Readlink("/proc/thread-self/ns/net")
	return name
}

// startInside starts this program again in new namespaces: as root does it,
// and, where that is refused, as any other user does. The calling goroutine
// keeps its thread, because the child dies with the thread that started it.
func startInside() (*exec.Cmd, error) {
	runtime.LockOSThread()
	var refused []error
	for _, attr := range ways() {
		cmd := again(attr)
		err := cmd.Start()
		if err == nil {
			return cmd, nil
		}
		refused = append(refused, err)
	}
	runtime.UnlockOSThread()
	return nil, errors.Join(refused...)
}

// again is the command that runs this program once more under attr.
func again(attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), envOutside+"="+threadNetNS())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attr
	return cmd
}

// ways lists how a world may be had, the best first.
func ways() []*syscall.SysProcAttr {
	asUser := &syscall.SysProcAttr{
		Cloneflags:  world | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		return []*syscall.SysProcAttr{asUser}
	}
	return []*syscall.SysProcAttr{{Cloneflags: world, Pdeathsig: syscall.SIGKILL}, asUser}
}

// attend passes signals on to the child until it ends, ends what it left
// running in its world, and returns its exit status as a shell would.
func attend(child *exec.Cmd) int {
	mnt, release := holdNamespace(child.Process.Pid, "mnt")
	defer release()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			_ = child.Process.Signal(s)
		}
	}()
	err := child.Wait()
	endProcesses("mnt", mnt)
	return exitStatus(err)
}

// exitStatus is what a shell's $? would be after a command that ended with err.
func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return exit.ExitCode()
}
