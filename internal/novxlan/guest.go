package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// guestEnv is the whole environment of a test in the guest. Tests can tell by WEFT_NOVXLAN that no kernel peer is to be had; transfers
// are small, because an emulated machine carries a hundredth of what a real one does.
var guestEnv = []string{"PATH=" + guestBin, "HOME=/root", "TMPDIR=/tmp", "WEFT_NOVXLAN=1", "WEFT_TRANSFER_MIB=1"}

// guestMain is the guest's first process. It never returns: a first process that ends is a kernel panic.
func guestMain() {
	if err := guestRun(); err != nil {
		fmt.Println("novxlan: guest:", err)
	}
	// What is still in the serial port's buffer would be lost with the machine.
	_ = unix.IoctlSetInt(1, unix.TCSBRK, 1)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func guestRun() error {
	p, err := readPlan()
	if err != nil {
		return err
	}
	if err := mountAll(); err != nil {
		return err
	}
	for _, name := range p.Modules {
		if err := loadModule(name); err != nil {
			return err
		}
	}
	if err := proveNoVXLAN(); err != nil {
		return err
	}
	fmt.Printf("novxlan: Linux %s, which refuses links of type vxlan\n", kernelRelease())
	if err := loopbackUp(); err != nil {
		return err
	}
	return runTests(p.Tests)
}

func readPlan() (plan, error) {
	var p plan
	content, err := os.ReadFile(planPath)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(content, &p)
}

func mountAll() error {
	for _, m := range []struct{ dir, kind string }{
		{"/proc", "proc"}, {"/sys", "sysfs"}, {"/dev", "devtmpfs"}, {"/run", "tmpfs"}, {"/tmp", "tmpfs"},
	} {
		err := unix.Mount(m.kind, m.dir, m.kind, 0, "")
		// Some kernels mount /dev by themselves.
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.dir, err)
		}
	}
	return nil
}

func loadModule(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := unix.FinitModule(int(file.Fd()), "", 0); err != nil {
		return fmt.Errorf("load %s: %w", name, err)
	}
	return nil
}

// proveNoVXLAN is nil if this kernel refuses a vxlan link as a type that it does not know.
func proveNoVXLAN() error {
	link := &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "proof0"}, VxlanId: 5, Port: 4789}
	err := netlink.LinkAdd(link)
	switch {
	case err == nil:
		return errors.Join(errors.New("this kernel has vxlan: it made a link of that type"), netlink.LinkDel(link))
	case !errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("a vxlan link was refused with %w, want %w", err, unix.EOPNOTSUPP)
	}
	return nil
}

func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(name.Release[:])
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func runTests(tests [][]string) error {
	for _, command := range tests {
		fmt.Println(startMark + path.Base(command[0]))
		status, err := runReaping(command)
		if err != nil {
			return err
		}
		fmt.Printf("%s%d\n", exitMark, status)
	}
	return nil
}

// runReaping runs a command and meanwhile collects the orphans that fall to the first process: a daemon that ended
// must not stay as a zombie, which a test would take for a live one. Hence no os/exec, whose Wait this would race with.
func runReaping(command []string) (int, error) {
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{Dir: "/tmp", Env: guestEnv, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", command[0], err)
	}
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for %s: %w", command[0], err)
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case ended == pid:
			return status.ExitStatus(), nil
		}
	}
}
