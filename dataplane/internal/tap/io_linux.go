//go:build !portable

package tap

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
)

// FD returns the descriptor for polling.
func (d *Device) FD() int { return d.handle.fd }

// Close deletes the interface.
func (d *Device) Close() error {
	if d.water != nil {
		return d.water.Close()
	}
	return unix.Close(d.handle.fd)
}

// Read replaces the batch with the frames that wait in the device, as many as
// the batch's bounds allow, possibly none; it never blocks. It returns
// ErrClosed when the device was deleted.
func (d *Device) Read(b *Batch) error {
	b.reset(d.headroom)
	for !b.Full() {
		more, err := d.readOne(b)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (d *Device) readOne(b *Batch) (more bool, err error) {
	if d.water != nil {
		return d.readPortable(b)
	}
	// The virtio-net header lands on the headroom and, where that is shorter, on
	// the end of the frame before, whose bytes are put back: so frames lie
	// without a gap.
	room := b.room(virtioHeaderLen)
	var saved [virtioHeaderLen]byte
	over := saved[:copy(saved[:max(0, virtioHeaderLen-b.headroom)], room)]
	n, errno := d.read(room)
	if errno != 0 {
		return readError(errno)
	}
	if n < virtioHeaderLen {
		copy(room, over)
		return false, nil
	}
	gso := getGSO(room)
	copy(room, over)
	d.count(gso.Type)
	b.push(n-virtioHeaderLen, gso)
	return true, nil
}

// read does not go through the scheduler: the descriptor does not block.
func (d *Device) read(p []byte) (int, unix.Errno) {
	d.Reads.Add(1)
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(d.handle.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func readError(errno unix.Errno) (bool, error) {
	switch errno {
	case unix.EAGAIN:
		return false, nil
	case unix.EINTR:
		return true, nil
	case unix.EBADFD, unix.EBADF:
		return false, ErrClosed // a deleted device gives EBADFD (probed on 6.18)
	}
	return false, errno
}

// readPortable reads through water, which would wait for a frame: so it is
// only asked when one is there.
func (d *Device) readPortable(b *Batch) (more bool, err error) {
	poll := []unix.PollFd{{Fd: int32(d.handle.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 0); n == 0 || err != nil {
		return false, nil
	}
	if poll[0].Revents&unix.POLLIN == 0 {
		return false, ErrClosed // POLLERR: there is no device behind it any more
	}
	d.Reads.Add(1)
	n, err := d.water.Read(b.room(0))
	if err != nil {
		return false, portableError(err)
	}
	b.push(n, encap.GSO{})
	return true, nil
}

// Write gives a frame or super-frame to the device. It returns ErrDown or
// ErrClosed, or what the kernel minds about the frame.
func (d *Device) Write(f *encap.Coalesced) error {
	if d.water != nil || f.GSO.Type != encap.GSONone && !d.takes(f.GSO.Type) {
		return d.writeCut(f)
	}
	putGSO(d.handle.header[:], &f.GSO)
	errno := d.writev(f)
	if errno == unix.EINVAL && f.GSO.Type != encap.GSONone {
		d.downgrade(errno)
		return d.writeCut(f)
	}
	if errno == 0 {
		d.count(f.GSO.Type)
	}
	return writeError(errno)
}

func (d *Device) takes(t encap.GSOType) bool {
	if t == encap.GSOUDP {
		return d.offers.UDP
	}
	return d.offers.TCP
}

// downgrade stops writing super-frames: kernels with e269d79c7d35 and without
// 89add40066f9 (6.1.103, 6.6.44, 6.10.3) refuse valid ones.
func (d *Device) downgrade(errno unix.Errno) {
	d.offers.TCP, d.offers.UDP = false, false
	if d.OnDowngrade != nil {
		d.OnDowngrade(fmt.Errorf("write of a super-frame: %w", errno))
	}
}

// writev writes header, frame and tail as one frame.
func (d *Device) writev(f *encap.Coalesced) unix.Errno {
	parts := d.handle.iovecs[:0]
	parts = append(parts, iovec(d.handle.header[:]), iovec(f.Frame))
	for _, p := range f.Tail {
		parts = append(parts, iovec(p))
	}
	d.handle.iovecs = parts
	for {
		d.Writes.Add(1)
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

// writePlain writes one finished frame.
func (d *Device) writePlain(frame []byte) error {
	if d.water != nil {
		d.Writes.Add(1)
		_, err := d.water.Write(frame)
		return portableError(err)
	}
	d.handle.header = [virtioHeaderLen]byte{}
	return writeError(d.writev(&encap.Coalesced{Packet: encap.Packet{Frame: frame}}))
}

func writeError(errno unix.Errno) error {
	switch errno {
	case 0:
		return nil
	case unix.EIO:
		return ErrDown // the device is not up
	case unix.EBADFD, unix.EBADF:
		return ErrClosed
	}
	return errno
}

// Where says which interface the device is now: its name, and the namespace
// that it is in as a descriptor which the caller closes. It goes on working
// wherever the interface is moved, and fails once it is deleted.
func (d *Device) Where() (name string, netns int, err error) {
	req, err := unix.NewIfreq("x")
	if err != nil {
		return "", -1, err
	}
	if err := unix.IoctlIfreq(d.handle.fd, unix.TUNGETIFF, req); err != nil {
		return "", -1, fmt.Errorf("TUNGETIFF: %w", err)
	}

	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.handle.fd), unix.TUNGETDEVNETNS, 0) // Linux 5.2
	if errno != 0 {
		return "", -1, fmt.Errorf("TUNGETDEVNETNS: %w", errno)
	}
	return req.Name(), int(fd), nil
}
