//go:build !portable

package dataplane

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bufferLimit is what bounds a socket's receive buffer, as a remedy.
const bufferLimit = "net.core.rmem_max or grant CAP_NET_ADMIN"

// explainListen says who holds the port when it is taken, or that the address is
// nobody's here.
func explainListen(cfg *LinkConfig, err error) error {
	port, ipv6, word := cfg.Port, cfg.IPv6(), cfg.portWord()
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("local %s: no device of this network namespace has that address: add it, or leave `local` out: %w", cfg.Local, err)
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("UDP port %d: %w", port, err)
	}
	if name := kernelHolder(port); name != "" {
		return fmt.Errorf("UDP port %d is held by the kernel's vxlan device %s, which is up: set it down, delete it, or choose another %s: %w", port, name, word, err)
	}
	if name := processHolder(port, ipv6); name != "" {
		return fmt.Errorf("UDP port %d is held by %s: stop it or choose another %s: %w", port, name, word, err)
	}
	return fmt.Errorf("UDP port %d is held by another program, or by a kernel vxlan device that was moved to another namespace: choose another %s: %w", port, word, err)
}

// kernelHolder returns the kernel vxlan device that is up on the port, or "".
func kernelHolder(port uint16) string {
	// When devices come or go meanwhile, there is an error beside the list.
	links, _ := netlink.LinkList()
	for _, l := range links {
		if v, ok := l.(*netlink.Vxlan); ok && v.Port == int(port) && v.Attrs().Flags&net.FlagUp != 0 {
			return v.Attrs().Name
		}
	}
	return ""
}

// processHolder returns the process that has a socket on the port, or "".
func processHolder(port uint16, ipv6 bool) string {
	file := "/proc/thread-self/net/udp"
	if ipv6 {
		file += "6"
	}
	inode := socketInode(file, port)
	if inode == "" {
		return ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && target == "socket:["+inode+"]" {
			pid := strings.Split(fd, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}

// socketInode looks a local port up in a file of the form of /proc/net/udp.
func socketInode(file string, port uint16) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	const localAddress, inode = 1, 9 // columns
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > inode && strings.HasSuffix(fields[localAddress], suffix) {
			return fields[inode]
		}
	}
	return ""
}
