//go:build !portable

package underlay

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PathMTU asks the kernel what the path to a remote carries: the least of the
// output device's MTU, the route's, and what routers on the way told ("packet
// too big", which the kernel keeps for ten minutes as an exception to the
// route). That is what the kernel's vxlan device goes by too.
//
// It asks by connecting a UDP socket, which sends nothing, and reading IP_MTU.
// It belongs to one goroutine.
type PathMTU struct {
	fd    int
	ipv6  bool
	cache cache[path, int]
	name  unix.RawSockaddrInet6 // of the remote, or AF_UNSPEC; here because it must not be allocated
}

// OpenPathMTU opens the socket, in the network namespace of the calling thread.
// Paths are those from local if that is valid and the host has it; a host that
// does not have it (yet) sends nothing from there either.
func OpenPathMTU(ipv6 bool, local netip.Addr) (*PathMTU, error) {
	family := unix.AF_INET
	if ipv6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket to ask for path MTUs: %w", err)
	}
	p := &PathMTU{fd: fd, ipv6: ipv6}
	p.cache = newCache(p.ask)
	// While it is connected it has a port, at which nothing may pile up.
	if err := (&Socket{fd: fd}).dropIncoming(); err != nil {
		p.Close()
		return nil, err
	}
	p.bind(local)
	return p, nil
}

// bind chooses the source address, or leaves it to the route.
func (p *PathMTU) bind(local netip.Addr) {
	switch {
	case !p.ipv6 && local.Is4():
		_ = unix.Bind(p.fd, &unix.SockaddrInet4{Addr: local.As4()})
	case p.ipv6 && local.Is6():
		_ = unix.Bind(p.fd, &unix.SockaddrInet6{Addr: local.As16()})
	}
}

// Of returns how many bytes of outer IP packet the path to remote carries, by
// the device with index ifIndex, or by that of the route if ifIndex is 0. It
// returns 0 if that is not known: there is no route. A multicast group's path
// is its output device. An answer is up to a second old by now, which is the
// time on any clock that does not go backwards.
func (p *PathMTU) Of(remote netip.Addr, ifIndex int, now time.Duration) int {
	return *p.cache.of(path{remote, ifIndex}, now)
}

// Close closes the socket.
func (p *PathMTU) Close() error { return unix.Close(p.fd) }

// ask makes four system calls: a socket that was connected before keeps the
// source address of then, unless it is disconnected first.
func (p *PathMTU) ask(to path) int {
	if !p.reach(to) {
		return 0
	}
	return p.mtu()
}

// reach connects the socket, so that it can be asked about a path.
func (p *PathMTU) reach(to path) bool {
	if to.remote.Is6() != p.ipv6 || !to.remote.IsValid() {
		return false
	}
	p.name = unix.RawSockaddrInet6{Family: unix.AF_UNSPEC}
	if p.connect(unix.SizeofSockaddrInet4) != 0 {
		return false
	}
	p.bindToDevice(to.ifIndex)
	size := putName(&p.name, &Outer{Remote: netip.AddrPortFrom(to.remote, discardPort), IfIndex: to.ifIndex}, p.ipv6)
	return p.connect(size) == 0
}

// discardPort is where nothing is sent to: any port but 0 will do.
const discardPort = 9

func (p *PathMTU) connect(size uint32) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.name)), uintptr(size))
	return errno
}

// bindToDevice sets the output device of the next connect. It has to be done
// each time, because a disconnect takes it away (__udp_disconnect). Where the
// kernel refuses, the device is the route's, as good an answer as there is:
// before Linux 5.1, which does not know the option, and for users before 5.7
// (c427bfec18f2).
func (p *PathMTU) bindToDevice(ifIndex int) {
	if ifIndex != 0 {
		_ = unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, ifIndex)
	}
}

func (p *PathMTU) mtu() int {
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if p.ipv6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	mtu, err := unix.GetsockoptInt(p.fd, level, option)
	if err != nil {
		return 0
	}
	return mtu
}
