//go:build !portable

package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/tap"
)

// ask finds out what addresses the device has, wherever it is now.
func (o *ownAddresses) ask(device *tap.Device) {
	o.close()
	o.v4, o.v6 = netip.Addr{}, netip.Addr{}
	name, ns, err := device.Where()
	if err != nil {
		return
	}
	defer unix.Close(ns)
	handle, err := netlinkIn(ns)
	if err != nil {
		return
	}
	defer handle.Close()
	link, err := handle.LinkByName(name)
	if err != nil {
		return
	}
	addresses, _ := handle.AddrList(link, netlink.FAMILY_ALL)
	var all []netip.Addr
	for _, a := range addresses {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && a.Flags&unix.IFA_F_TENTATIVE == 0 {
			all = append(all, addr.Unmap())
		}
	}
	o.v4, o.v6 = sourcesAmong(all)
	o.open(name, ns)
}

// acceptance is whether the device takes IPv4 packets from addresses of the host
// itself (accept_local), which the kernel otherwise drops as martian. It is
// switched on for nothing but a packet of weft's own: the kernel has done with
// it when the write returns, and nobody but the worker writes to the device.
type acceptance struct {
	file   *os.File // nil if it is on anyway, or not to be had
	always bool
}

func (a *acceptance) open(name string, ns int) {
	path := "/proc/sys/net/ipv4/conf/" + name + "/accept_local"
	file, err := openIn(ns, path)
	if err != nil {
		return
	}
	var value [2]byte
	if n, _ := file.ReadAt(value[:], 0); n > 0 && value[0] != '0' {
		a.always = true
		file.Close()
		return
	}
	a.file = file
}

func (a *acceptance) close() {
	if a.file != nil {
		a.file.Close()
	}
	*a = acceptance{}
}

// begin switches it on, and reports whether it is.
func (a *acceptance) begin() bool {
	if a.always || a.file == nil {
		return a.always
	}
	_, err := a.file.WriteAt([]byte("1\n"), 0)
	return err == nil
}

func (a *acceptance) end() {
	if a.file != nil {
		_, _ = a.file.WriteAt([]byte("0\n"), 0)
	}
}

// openIn opens a file below /proc/sys/net as it is in a network namespace: that
// of the thread which opens it.
func openIn(ns int, path string) (file *os.File, err error) {
	if isOwnNamespace(ns) {
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		home, e := netns.Get()
		if e != nil {
			err = e
			return // with its thread
		}
		defer home.Close()
		if err = netns.Set(netns.NsHandle(ns)); err != nil {
			err = fmt.Errorf("enter the namespace of the device: %w", err)
			return
		}
		file, err = os.OpenFile(path, os.O_RDWR, 0)
		if e := netns.Set(home); e != nil {
			err = errors.Join(err, e)
			return
		}
		runtime.UnlockOSThread()
	}()
	<-done
	return file, err
}
