//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is a network namespace with lo up, and stands for a machine. Its
// methods may be called from any goroutine.
type Host struct {
	Name string

	ns     netns.NsHandle
	nl     *netlink.Handle
	calls  chan func()   // run by the host's own thread, see serve
	quit   chan struct{} // closed to end it
	served chan struct{} // closed when it has ended

	mu        sync.Mutex
	processes []*Process
	captures  []*Capture
	closed    bool
}

// hostSysctls make a host quiet and quick: addresses usable at once, no router
// solicitations in captures, the same congestion control on every machine.
// All may be missing (no IPv6, no cubic), so none is insisted upon.
var hostSysctls = map[string]string{
	"net.ipv6.conf.all.accept_dad":               "0",
	"net.ipv6.conf.default.accept_dad":           "0",
	"net.ipv6.conf.default.dad_transmits":        "0",
	"net.ipv6.conf.default.router_solicitations": "0",
	"net.ipv6.conf.default.accept_ra":            "0",
	"net.ipv4.tcp_congestion_control":            congestion,
}

// NewHost makes a host. The name is only for messages.
func NewHost(name string) (*Host, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	return hostIn(ns, name)
}

// OpenHost makes a host of a namespace that is there, such as one that `ip
// netns add` made, by the path of its file.
func OpenHost(name, path string) (*Host, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	return hostIn(ns, name)
}

// hostIn takes a namespace over.
func hostIn(ns netns.NsHandle, name string) (*Host, error) {
	h := &Host{Name: name, ns: ns, calls: make(chan func()), quit: make(chan struct{}), served: make(chan struct{})}
	if err := h.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("host %s: %w", name, err), ns.Close())
	}
	return h, nil
}

// start opens what needs the namespace, then starts the host's thread.
func (h *Host) start() error {
	err := inNamespace(h.ns, func() error {
		if err := loopbackUp(); err != nil {
			return err
		}
		for name, value := range hostSysctls {
			_ = writeSysctl(name, value)
		}
		var err error
		h.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return err
	}
	ready := make(chan error, 1)
	go h.serve(ready)
	return <-ready
}

// serve is the host's own thread: processes are started on it, because the
// signal that ends them with this program (Pdeathsig) is tied to the life of
// the thread that started them.
func (h *Host) serve(ready chan<- error) {
	defer close(h.served)
	leave, err := enterThread(h.ns)
	ready <- err
	if err != nil {
		return
	}
	defer leave()
	for {
		select {
		case call := <-h.calls:
			call()
		case <-h.quit:
			return
		}
	}
}

// Do runs f in the host, on a thread locked for it, and returns f's error.
// Sockets that f opens stay in the host and may be used anywhere; goroutines
// that f starts are not in the host.
func (h *Host) Do(f func() error) error {
	if err := inNamespace(h.ns, f); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nil
}

// Netlink is a route netlink handle in the host, for what has no method here.
// It belongs to the host.
func (h *Host) Netlink() *netlink.Handle { return h.nl }

// NetNS is the descriptor of the host's network namespace. It belongs to the host.
func (h *Host) NetNS() int { return int(h.ns) }

// Inode is the inode number of the host's network namespace, by which
// programs name it.
func (h *Host) Inode() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(h.ns), &st); err != nil {
		return 0, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return st.Ino, nil
}

// Sysctl sets a kernel parameter of the host, named with dots
// ("net.ipv4.ip_forward").
func (h *Host) Sysctl(name, value string) error {
	return h.Do(func() error { return writeSysctl(name, value) })
}

// writeSysctl acts on the calling thread's namespace: /proc/sys/net shows each
// thread its own.
func writeSysctl(name, value string) error {
	path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
	return os.WriteFile(path, []byte(value), 0)
}

// Close stops the host's captures and every process that runs in it, and gives
// up the namespace, which ends with its devices. Calling it again does nothing.
func (h *Host) Close() error {
	h.mu.Lock()
	processes, captures, again := h.processes, h.captures, h.closed
	h.closed = true
	h.mu.Unlock()
	if again {
		return nil
	}
	for _, c := range captures {
		c.Stop()
	}
	var errs []error
	for _, p := range processes {
		errs = append(errs, p.release())
	}
	if inode, err := h.Inode(); err == nil {
		endProcesses("net", fmt.Sprintf("net:[%d]", inode))
	}
	close(h.quit)
	<-h.served
	h.nl.Close()
	return errors.Join(append(errs, h.ns.Close())...)
}
