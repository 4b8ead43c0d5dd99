//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// captureBuffer is what the kernel may hold for a capture that lags.
const captureBuffer = 64 << 20

// wholeFrame is more than any frame has.
const wholeFrame = 1 << 18

// Capture records the frames that pass a device in both directions, from the
// moment Host.Capture returns.
type Capture struct {
	file   *os.File
	conn   syscall.RawConn
	snap   int
	noLink bool
	done   chan struct{}

	mu      sync.Mutex
	frames  []Frame
	changed chan struct{} // closed at the next frame or the end; nil while nobody waits
	dropped int
	stopped bool
}

// Capture starts recording whole frames of a device.
func (h *Host) Capture(dev string) (*Capture, error) { return h.CaptureSnap(dev, wholeFrame) }

// CaptureSnap starts recording no more than snap bytes of each frame, for what
// would be too much otherwise.
func (h *Host) CaptureSnap(dev string, snap int) (*Capture, error) {
	d, err := h.link(dev)
	if err != nil {
		return nil, err
	}
	c := &Capture{snap: snap, noLink: hasNoLink(d), done: make(chan struct{})}
	err = h.Do(func() (err error) {
		c.file, err = openPacketSocket(d.Attrs().Index)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("capturing on %s: %w", dev, err)
	}
	if c.conn, err = c.file.SyscallConn(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.captures = append(h.captures, c)
	h.mu.Unlock()
	go c.record()
	return c, nil
}

// hasNoLink reports whether a device carries bare IP packets, as a TUN does.
func hasNoLink(d netlink.Link) bool {
	switch d.Attrs().EncapType {
	case "ether", "loopback":
		return false
	}
	return true
}

// openPacketSocket opens a socket that gets no frame before it is bound to its
// device, so none of another's.
func openPacketSocket(index int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "capture")
	// Not permitted in a user namespace; then the most that users may have.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, captureBuffer)
	}
	steps := []func() error{
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) },
		func() error { return unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1) },
		func() error {
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian16(unix.ETH_P_ALL), Ifindex: index})
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			_ = file.Close()
			return nil, err
		}
	}
	return file, nil
}

// bigEndian16 puts a number into network order, as link-layer addresses want it.
func bigEndian16(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// record reads frames until Stop ends the waiting, then what had come by then.
func (c *Capture) record() {
	defer close(c.done)
	buf, oob := make([]byte, c.snap), make([]byte, 256)
	_ = c.conn.Read(func(fd uintptr) bool {
		c.readAll(int(fd), buf, oob)
		return false
	})
	_ = c.conn.Control(func(fd uintptr) {
		c.readAll(int(fd), buf, oob)
		if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			c.dropped = int(s.Drops)
		}
	})
}

// readAll reads until the socket is empty. ENETDOWN, once when the device goes
// down, is not the end of the capture.
func (c *Capture) readAll(fd int, buf, oob []byte) {
	for {
		n, oobn, _, from, err := unix.Recvmsg(fd, buf, oob, unix.MSG_TRUNC)
		switch {
		case err == nil:
			f := newFrame(buf[:min(n, len(buf))], n, oob[:oobn], from)
			f.NoLink = c.noLink
			c.add(f)
		case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.EINTR):
		default: // EAGAIN
			return
		}
	}
}

func (c *Capture) add(f Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames = append(c.frames, f)
	c.wake()
}

// wake tells those who wait; c.mu is held.
func (c *Capture) wake() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// Stop ends the capture and returns all frames, those included that had passed
// but were not read yet. Calling it again returns the same.
func (c *Capture) Stop() []Frame {
	c.mu.Lock()
	first := !c.stopped
	c.stopped = true
	c.mu.Unlock()
	if first {
		_ = c.file.SetReadDeadline(time.Unix(1, 0))
		<-c.done
		_ = c.file.Close()
	}
	<-c.done
	c.mu.Lock()
	c.wake()
	c.mu.Unlock()
	return c.Frames()
}

// Frames returns what was recorded so far.
func (c *Capture) Frames() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames[:len(c.frames):len(c.frames)]
}

// Dropped is how many frames the kernel could not hold for the capture. It is
// known after Stop.
func (c *Capture) Dropped() int {
	<-c.done
	return c.dropped
}

// Wait returns the first recorded frame, past or to come, for which cond holds.
func (c *Capture) Wait(limit time.Duration, cond func(Frame) bool) (Frame, error) {
	deadline := time.After(limit)
	for seen := 0; ; {
		frames, more := c.since(seen)
		for _, f := range frames {
			if cond(f) {
				return f, nil
			}
		}
		seen += len(frames)
		select {
		case <-more:
		case <-c.done:
			if n, _ := c.since(seen); len(n) == 0 {
				return Frame{}, fmt.Errorf("capture stopped, and none of %d frames was the one awaited", seen)
			}
		case <-deadline:
			return Frame{}, fmt.Errorf("none of %d frames within %v was the one awaited", seen, limit)
		}
	}
}

// since returns the frames after the first n, and a channel that is closed
// when there are more.
func (c *Capture) since(n int) ([]Frame, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.frames[n:], c.changed
}
