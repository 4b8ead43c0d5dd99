package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inGuest skips a test that asserts on the kernel without vxlan, which make test-novxlan boots.
func inGuest(t *testing.T) {
	t.Helper()
	if os.Getenv("WEFT_NOVXLAN") == "" {
		t.Skip("asserts on a kernel without vxlan: make test-novxlan runs it")
	}
}

func TestNoVXLANIsRefused(t *testing.T) {
	inGuest(t)
	if err := proveNoVXLAN(); err != nil {
		t.Fatal(err)
	}
	modules, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(modules), forbidden) {
		t.Errorf("a module of the guest is %s or uses it:\n%s", forbidden, modules)
	}
}

// The parts that weft and its tests stand on must be there, or what passes in the guest shows nothing.
func TestNoVXLANHasVethAndBridge(t *testing.T) {
	inGuest(t)
	for _, link := range []netlink.Link{
		&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0"}, PeerName: "veth1"},
		&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}},
	} {
		if err := netlink.LinkAdd(link); err != nil {
			t.Errorf("add a %s link: %v", link.Type(), err)
			continue
		}
		if err := netlink.LinkDel(link); err != nil {
			t.Error(err)
		}
	}
}

// UDP segmentation came to TUN devices with 6.2; 6.1 must refuse it, and TCP's must work.
func TestNoVXLANTapOffloads(t *testing.T) {
	inGuest(t)
	const tcp, udp = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6, unix.TUN_F_USO4 | unix.TUN_F_USO6
	tap := openTAP(t)
	if err := unix.IoctlSetInt(tap, unix.TUNSETOFFLOAD, tcp); err != nil {
		t.Errorf("TUNSETOFFLOAD with TCP segmentation: %v", err)
	}
	err := unix.IoctlSetInt(tap, unix.TUNSETOFFLOAD, tcp|udp)
	t.Logf("Linux %s, TUNSETOFFLOAD with UDP segmentation: %v", kernelRelease(), err)
	if strings.HasPrefix(kernelRelease(), "6.1.") && !errors.Is(err, unix.EINVAL) {
		t.Errorf("TUNSETOFFLOAD with UDP segmentation: got %v, want %v", err, unix.EINVAL)
	}
}

func openTAP(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	req, err := unix.NewIfreq("tap0")
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
	return fd
}
