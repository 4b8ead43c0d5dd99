//go:build !portable

package tap

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
)

func wantNoAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(50, f); n != 0 {
		t.Errorf("%s: %v allocations a call", what, n)
	}
}

// TestReadDoesNotAllocate reads batches of frames that are there.
func TestReadDoesNotAllocate(t *testing.T) {
	h := silentHost(t, "a")
	d, b := upIn(t, h, false), NewBatch()
	device, err := h.Device("tap0")
	check(t, err)
	var fd int
	check(t, h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	defer unix.Close(fd)
	check(t, unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: device.Index}))
	frame, got := frameOf(1000, 1), 0
	wantNoAllocs(t, "Read", func() {
		for range 3 {
			if _, err := unix.Write(fd, frame); err != nil {
				t.Error(err)
			}
		}
		if err := d.Read(b); err != nil {
			t.Error(err)
		}
		got += len(b.Packets)
	})
	if got != 3*51 {
		t.Errorf("%d frames were read, want %d", got, 3*51)
	}
}

// TestWriteDoesNotAllocate writes whole frames and super-frames, and those that
// have to be cut.
func TestWriteDoesNotAllocate(t *testing.T) {
	h := silentHost(t, "a")
	d := upIn(t, h, false)
	plain := &encap.Coalesced{Packet: encap.Packet{Frame: frameOf(1000, 1)}}
	tcp, udp := super(t, series(true, 40, 1000)), super(t, series(false, 40, 1000))
	write := func(f *encap.Coalesced) func() {
		return func() {
			if err := d.Write(f); err != nil {
				t.Error(err)
			}
		}
	}
	wantNoAllocs(t, "frame", write(plain))
	wantNoAllocs(t, "TCP super-frame", write(tcp))
	wantNoAllocs(t, "UDP super-frame", write(udp))
	d.offers.TCP = false
	first := bytes.Clone(tcp.Frame)
	wantNoAllocs(t, "TCP super-frame, cut", write(tcp))
	if !bytes.Equal(first, tcp.Frame) {
		t.Error("cutting changed the super-frame")
	}
}
