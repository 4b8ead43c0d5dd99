//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Lack is something that the lab wants of the machine and does not get.
type Lack struct {
	What   string // "namespaces", "/dev/net/tun", "the kernel's vxlan", …
	Why    error  // what the machine said
	Remedy string // what would help
}

// Error says all three.
func (l *Lack) Error() string {
	return fmt.Sprintf("%s: %v; to have it, %s", l.What, l.Why, l.Remedy)
}

func (l *Lack) Unwrap() error { return l.Why }

// Missing tries, in the private world, each thing that hosts are made of, and
// returns what cannot be had. Namespaces themselves are found missing by Enter.
func Missing() []*Lack {
	var lacks []*Lack
	for _, probe := range []func() *Lack{probeVeth, probeBridge, probeTUN, probeKernelVXLAN} {
		if l := probe(); l != nil {
			lacks = append(lacks, l)
		}
	}
	return lacks
}

func probeVeth() *Lack {
	return probeDevice("veth pairs", &netlink.Veth{LinkAttrs: attrs("probe0"), PeerName: "probe1"}, "CONFIG_VETH")
}

func probeBridge() *Lack {
	return probeDevice("bridges", &netlink.Bridge{LinkAttrs: attrs("probe0")}, "CONFIG_BRIDGE")
}

func attrs(name string) netlink.LinkAttrs {
	return netlink.LinkAttrs{Name: name, TxQLen: -1}
}

// probeDevice makes a device in a namespace of its own and deletes it again.
func probeDevice(what string, link netlink.Link, config string) *Lack {
	return probe(what, config, func(h *Host) error {
		if err := h.nl.LinkAdd(link); err != nil {
			return err
		}
		return h.Delete(link.Attrs().Name)
	})
}

// probeKernelVXLAN brings its device up, because that is when the kernel opens
// the UDP socket.
func probeKernelVXLAN() *Lack {
	return probe("the kernel's vxlan", "CONFIG_VXLAN", func(h *Host) error {
		if err := h.AddKernelVXLAN(VXLAN{Name: "probe0", ID: 1, Port: 4789}); err != nil {
			return err
		}
		if err := h.SetUp("probe0"); err != nil {
			return err
		}
		return h.Delete("probe0")
	})
}

func probe(what, config string, try func(*Host) error) *Lack {
	h, err := NewHost("probe")
	if err == nil {
		err = errors.Join(try(h), h.Close())
	}
	if err == nil {
		return nil
	}
	module := strings.ToLower(strings.TrimPrefix(config, "CONFIG_"))
	return &Lack{What: what, Why: err, Remedy: fmt.Sprintf("load the module as root (modprobe %s) or run a kernel built with %s", module, config)}
}

const tunPath = "/dev/net/tun"

// probeTUN makes a TUN device, which goes with its descriptor.
func probeTUN() *Lack {
	err := openTUN()
	if err == nil {
		return nil
	}
	remedy := "run as root, or let this user open it (chmod 0666 " + tunPath + ")"
	switch {
	case errors.Is(err, os.ErrNotExist):
		remedy = "load the module as root (modprobe tun), or hand the device to the container (--device " + tunPath + ")"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		remedy = "load the module as root (modprobe tun) or run a kernel built with CONFIG_TUN"
	}
	return &Lack{What: tunPath, Why: err, Remedy: remedy}
}

func openTUN() error {
	h, err := NewHost("probe")
	if err != nil {
		return err
	}
	err = h.Do(func() error {
		f, err := os.OpenFile(tunPath, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq("probe0")
		if err == nil {
			req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, req)
		}
		return errors.Join(err, f.Close())
	})
	return errors.Join(err, h.Close())
}

// lackOfLinux compares with the running kernel's release.
func lackOfLinux(major, minor int, what string) *Lack {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return &Lack{What: what, Why: err, Remedy: "run Linux"}
	}
	release := unix.ByteSliceToString(u.Release[:])
	var m, n int
	if _, err := fmt.Sscanf(release, "%d.%d", &m, &n); err == nil && (m > major || m == major && n >= minor) {
		return nil
	}
	return &Lack{What: what, Why: fmt.Errorf("this is Linux %s", release), Remedy: fmt.Sprintf("run Linux %d.%d or later", major, minor)}
}

// lackOfNamespaces says why there is no private world, as far as the kernel's
// switches tell.
func lackOfNamespaces(err error) *Lack {
	remedy := "run as root, in a container with --privileged"
	switch {
	case sysctlIs("user/max_user_namespaces", "0"), errors.Is(err, unix.ENOSPC):
		remedy = "run as root, or raise the limit (sysctl -w user.max_user_namespaces=15000 user.max_net_namespaces=15000)"
	case sysctlIs("kernel/unprivileged_userns_clone", "0"):
		remedy = "run as root, or allow them to users (sysctl -w kernel.unprivileged_userns_clone=1)"
	case sysctlIs("kernel/apparmor_restrict_unprivileged_userns", "1"):
		remedy = "run as root, or allow them to users (sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)"
	case errors.Is(err, unix.EINVAL):
		remedy = "run a kernel built with CONFIG_NET_NS and CONFIG_USER_NS"
	}
	return &Lack{What: "namespaces", Why: err, Remedy: remedy}
}

func sysctlIs(path, value string) bool {
	b, err := os.ReadFile("/proc/sys/" + path)
	return err == nil && strings.TrimSpace(string(b)) == value
}
