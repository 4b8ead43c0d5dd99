//go:build !portable

package tap

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"
)

// handle is what the Linux device is read and written through.
type handle struct {
	fd     int
	iovecs []unix.Iovec
	header [virtioHeaderLen]byte
}

// open creates the interface that d describes, and completes d.
func open(name string, portable bool, d *Device) (*Device, error) {
	if len(name) >= unix.IFNAMSIZ {
		// water would cut it off, and nobody would find the device.
		return nil, fmt.Errorf("create %s: a name has at most %d bytes", name, unix.IFNAMSIZ-1)
	}
	if taken(name) {
		return nil, explainOpen(name, unix.EBUSY)
	}
	params := waterParams(name, d.tun)
	params.Persist = !portable
	w, err := water.New(water.Config{DeviceType: d.deviceType(), PlatformSpecificParams: params})
	if err != nil {
		return nil, explainOpen(name, err)
	}
	if portable {
		return openPortable(w, d)
	}
	// A device gets its header when it is attached to, so the persistent
	// device that water made is let go of and attached to again.
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("close %s: %w", name, err)
	}
	return reopen(w.Name(), d) // the kernel fills in %d
}

// taken reports whether an interface of that name exists. Asked for such a one,
// water would take over a device that nobody is attached to, and lose a
// descriptor if it cannot.
func taken(name string) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	return err == nil && unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req) == nil
}

func reopen(name string, d *Device) (*Device, error) {
	kind := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if d.tun {
		kind = unix.IFF_TUN | unix.IFF_NO_PI
	}
	fd, err := attach(name, kind|unix.IFF_VNET_HDR)
	if err != nil {
		// Attach as water left it, if only to delete the device.
		if fd, err = attach(name, kind); err != nil {
			return nil, explainOpen(name, err)
		}
		_ = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0)
		_ = unix.Close(fd)
		return open(name, true, d)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("TUNSETPERSIST on %s: %w", name, err)
	}
	d.handle, d.offers = newHandle(fd), probe(fd)
	d.out.frame = make([]byte, 0, maxFrame)
	return d, nil
}

func newHandle(fd int) handle { return handle{fd: fd, iovecs: make([]unix.Iovec, 0, maxParts)} }

// maxParts is more than a Coalesced ever has, and less than writev takes (1024).
const maxParts = 600

func attach(name string, flags uint16) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openPortable takes the descriptor out of water's file for polling; water goes
// on owning it.
func openPortable(w *water.Interface, d *Device) (*Device, error) {
	file, ok := w.ReadWriteCloser.(syscall.Conn)
	if !ok {
		w.Close()
		return nil, errors.New("songgao/water: the interface has no descriptor to poll")
	}
	raw, err := file.SyscallConn()
	if err != nil {
		w.Close()
		return nil, err
	}
	d.water = w
	d.out.frame = make([]byte, 0, maxFrame)
	err = raw.Control(func(fd uintptr) {
		unix.CloseOnExec(int(fd))
		d.handle = newHandle(int(fd))
	})
	if err != nil {
		w.Close()
		return nil, err
	}
	return d, nil
}

// probe asks for all super-frames and settles for what the kernel gives: UDP
// ones came with 6.2 and must be asked for in both families at once.
func probe(fd int) Offloads {
	for _, offers := range []Offloads{{Header: true, TCP: true, UDP: true}, {Header: true, TCP: true}} {
		if setOffloads(fd, offers) == nil {
			return offers
		}
	}
	return Offloads{Header: true}
}

// setOffloads tells the kernel which super-frames it may give.
func setOffloads(fd int, o Offloads) error {
	flags := 0
	if o.TCP {
		flags |= unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	}
	if o.UDP {
		flags |= unix.TUN_F_CSUM | unix.TUN_F_USO4 | unix.TUN_F_USO6
	}
	return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, flags)
}

// Restrict gives up super-frames of a kind that is not to be used. It is for
// the time before the first Read.
func (d *Device) Restrict(tcp, udp bool) {
	keep := Offloads{Header: d.offers.Header, TCP: d.offers.TCP && tcp, UDP: d.offers.UDP && udp}
	if keep != d.offers && setOffloads(d.handle.fd, keep) == nil {
		d.offers = keep
	}
}
