// Command novxlan boots a Linux kernel that has no vxlan under qemu and runs Go test binaries in it.
//
// The kernel is Debian's cloud kernel, unpacked into the user's cache directory and never installed. Its vxlan module is left out of
// the initramfs, and the guest proves over netlink that it is missing before the first test starts. This program is both
// the host side and, as /init, the guest's first process, so it must be built with CGO_ENABLED=0.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// guestInit is the path of this program in the initramfs; started under that name it is the guest's first process.
const guestInit = "/init"

// options are the words of the command line.
type options struct {
	run     string
	kernel  string
	modules string
	timeout time.Duration
	qemu    qemuOptions
	tests   []string
}

func main() {
	if os.Args[0] == guestInit {
		guestMain()
		return
	}
	// The signal that ends qemu with its parent is tied to the thread that started it.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := hostMain(ctx, parseOptions())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "novxlan:", err)
		os.Exit(1)
	}
}

func parseOptions() options {
	var o options
	flag.StringVar(&o.run, "run", ".", "run the tests that match `PATTERN` (go test -run)")
	flag.StringVar(&o.kernel, "kernel", "", "use this linux-image `FILE.deb` instead of downloading one")
	flag.StringVar(&o.modules, "modules", "tun,veth,bridge,dummy,nf_tables", "kernel modules to load, `NAMES` separated by commas")
	flag.DurationVar(&o.timeout, "timeout", 15*time.Minute, "end the virtual machine after this time")
	flag.StringVar(&o.qemu.accel, "accel", "tcg,thread=multi", "qemu's -accel")
	flag.IntVar(&o.qemu.memory, "memory", 1024, "the guest's memory in `MiB`")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: novxlan [flags] TESTBINARY...")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.tests = flag.Args()
	if len(o.tests) == 0 {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

// hostMain prepares the machine, boots it, and judges what its tests printed.
func hostMain(ctx context.Context, o options) error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("this machine is %s; the kernel that is booted, and with it this program, is for amd64 alone", runtime.GOARCH)
	}
	if err := requireQEMU(ctx); err != nil {
		return err
	}
	tree, err := findKernel(ctx, o.kernel)
	if err != nil {
		return err
	}
	modules, err := tree.resolve(strings.Split(o.modules, ","))
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "weft-novxlan-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	o.qemu.kernel, o.qemu.initrd = tree.image, filepath.Join(work, "initrd")
	if err := writeInitramfs(o.qemu.initrd, o, modules); err != nil {
		return err
	}
	return bootAndJudge(ctx, o)
}

func bootAndJudge(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout,
		fmt.Errorf("the virtual machine did not end within %v; -timeout allows more", o.timeout))
	defer cancel()
	start := time.Now()
	var seen transcript
	err := o.qemu.boot(ctx, func(line string) {
		fmt.Println(line)
		seen.add(line)
	})
	fmt.Printf("novxlan: the virtual machine ran for %.1f s\n", time.Since(start).Seconds())
	if err != nil {
		return err
	}
	fmt.Println(seen.counts())
	return seen.verdict(len(o.tests))
}
