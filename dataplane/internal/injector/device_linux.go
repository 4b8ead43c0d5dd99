//go:build !portable

package injector

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// handle is what frames are written through, and the program behind it.
type handle struct {
	fd      int
	name    string
	program *program
}

// namePattern has the kernel put the first free number in.
const namePattern = "weft-tx%d"

// Open makes the interface in the calling thread's network namespace. The
// error says which step the system refuses.
func Open() (*Device, error) {
	d := &Device{handle: handle{fd: -1}}
	for _, step := range []func() error{d.load, d.create, d.describe, d.isolate} {
		if err := step(); err != nil {
			d.Close()
			return nil, err
		}
	}
	return d, nil
}

func (d *Device) load() (err error) {
	d.handle.program, err = loadProgram()
	return err
}

// create makes the interface. It goes with its descriptor.
func (d *Device) create() (err error) {
	d.handle.fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(namePattern)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(d.handle.fd, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("create a TAP interface: %w", err)
	}
	d.handle.name = req.Name()
	return nil
}

// Flags of TUNSETOFFLOAD that x/sys does not name (linux/if_tun.h, 6.17).
const (
	tunUDPTunnelGSO     = 0x080
	tunUDPTunnelGSOCsum = 0x100

	superFrames = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | tunUDPTunnelGSO | tunUDPTunnelGSOCsum
)

// describe agrees with the kernel on the long virtio-net header. Before 6.17
// it takes any length of header, and refuses the flags.
func (d *Device) describe() error {
	if err := unix.IoctlSetPointerInt(d.handle.fd, unix.TUNSETVNETHDRSZ, HeaderLen); err != nil {
		return fmt.Errorf("a TAP interface's header of %d bytes: %w", HeaderLen, err)
	}
	if err := unix.IoctlSetInt(d.handle.fd, unix.TUNSETOFFLOAD, superFrames); err != nil {
		return fmt.Errorf("tunnelled super-frames, which came with Linux 6.17: %w", err)
	}
	return nil
}

// isolate has the program take what is written to the interface, and keeps the
// interface out of everything else: without a carrier nothing is sent out by
// it, and without IPv6 addresses it asks for no router. What is written to it
// is taken all the same, once it is up.
func (d *Device) isolate() error {
	if err := unix.IoctlSetPointerInt(d.handle.fd, unix.TUNSETCARRIER, 0); err != nil {
		return fmt.Errorf("carrier of %s: %w", d.handle.name, err)
	}
	link, err := netlink.LinkByName(d.handle.name)
	if err != nil {
		return fmt.Errorf("look for %s: %w", d.handle.name, err)
	}
	copy(d.MAC[:], link.Attrs().HardwareAddr)
	// Fails where there is no IPv6.
	_ = netlink.LinkSetIP6AddrGenMode(link, addrGenModeNone)
	if err := d.handle.program.attach(link.Attrs().Index); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", d.handle.name, err)
	}
	return nil
}

const addrGenModeNone = 1 // IN6_ADDR_GEN_MODE_NONE (linux/if_link.h)

// Name returns what the interface is called.
func (d *Device) Name() string { return d.handle.name }

// Close deletes the interface.
func (d *Device) Close() error {
	var errs []error
	if d.handle.program != nil {
		errs = append(errs, d.handle.program.close())
	}
	if d.handle.fd >= 0 {
		errs = append(errs, unix.Close(d.handle.fd))
	}
	return errors.Join(errs...)
}

// Write gives a frame in two parts, the headers and the rest. It does not go
// through the scheduler: the descriptor does not block.
func (d *Device) Write(headers, rest []byte) unix.Errno {
	parts := [2]unix.Iovec{iovec(headers), iovec(rest)}
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(d.handle.fd), uintptr(unsafe.Pointer(&parts[0])), uintptr(len(parts)))
		if errno != unix.EINTR {
			return errno
		}
	}
}

func iovec(b []byte) unix.Iovec {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	return v
}
