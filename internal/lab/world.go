//go:build linux

package lab

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// runDirs are the places where the private run directory may be mounted. /run
// is the best, because programs keep their sockets and `ip netns` its names
// there; the others exist where /run does not.
var runDirs = []string{"/run", "/var/run", "/mnt"}

// RunDir is a directory that only this world sees and that goes with it: a
// tmpfs, mounted over /run where there is one. "" outside a world.
func RunDir() string { return os.Getenv(envRunDir) }

// prepareWorld makes the mounts private and gives the world its run directory,
// its /sys and its loopback. Only the world's first process does so.
func prepareWorld() error {
	if RunDir() != "" {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return lackOfNamespaces(fmt.Errorf("making mounts private: %w", err))
	}
	dir, err := mountRunDir()
	if err != nil {
		return lackOfNamespaces(err)
	}
	// /sys/class/net shows the network namespace that /sys was mounted from.
	// Some containers forbid the mount, and nothing here depends on it.
	_ = unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err := loopbackUp(); err != nil {
		return lackOfNamespaces(err)
	}
	return os.Setenv(envRunDir, dir)
}

func mountRunDir() (string, error) {
	var err error
	for _, dir := range runDirs {
		err = unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755")
		if err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("mounting a private run directory on %s: %w", runDirs[len(runDirs)-1], err)
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bringing lo up: %w", err)
	}
	return nil
}
