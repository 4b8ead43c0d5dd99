//go:build !portable

package tap

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
)

// wire carries frames between two devices as a link's two directions do: it
// reads a batch from one, joins what belongs together, and writes to the other.
type wire struct {
	t       *testing.T
	ends    [2]*Device
	batch   *Batch
	joined  [2]encap.Coalescer
	stop    [2]int // pipe
	stopped chan struct{}
}

func startWire(t *testing.T, a, b *Device) *wire {
	t.Helper()
	w := &wire{t: t, ends: [2]*Device{a, b}, batch: NewBatch(), stopped: make(chan struct{})}
	check(t, unix.Pipe2(w.stop[:], unix.O_CLOEXEC))
	for i, d := range w.ends { // what is read from one is for the other
		w.joined[1-i].TCP, w.joined[1-i].UDP = d.Offloads().TCP, d.Offloads().UDP
		d.OnDowngrade = func(err error) { t.Errorf("device %d: %v", i, err) }
	}
	go w.run()
	return w
}

// end stops the wire: the devices are the caller's again.
func (w *wire) end() {
	unix.Close(w.stop[1])
	<-w.stopped
	unix.Close(w.stop[0])
}

func (w *wire) run() {
	defer close(w.stopped)
	for {
		poll := []unix.PollFd{
			{Fd: int32(w.ends[0].FD()), Events: unix.POLLIN}, {Fd: int32(w.ends[1].FD()), Events: unix.POLLIN}, {Fd: int32(w.stop[0])},
		}
		if _, err := unix.Poll(poll, -1); err != nil {
			continue // EINTR
		}
		if poll[2].Revents != 0 {
			return
		}
		for i := range w.ends {
			w.carry(i)
		}
	}
}

// carry moves one batch from end i.
func (w *wire) carry(i int) {
	if err := w.ends[i].Read(w.batch); err != nil {
		w.t.Errorf("device %d: %v", i, err)
	}
	for j := range w.batch.Packets {
		p := &w.batch.Packets[j]
		l := w.ends[i].parse(p.Frame)
		w.joined[i].Add(p, &l)
	}
	made := w.joined[i].Frames()
	for j := range made {
		if err := w.ends[1-i].Write(&made[j]); err != nil && !errors.Is(err, ErrDown) {
			w.t.Errorf("device %d: %v", 1-i, err)
		}
	}
	w.joined[i].Reset()
}

// TestTransfer moves a checked TCP stream through two devices, each with the
// header and without, over both families.
func TestTransfer(t *testing.T) {
	for name, portable := range map[string][2]bool{
		"header to header": {false, false}, "header to portable": {false, true},
		"portable to header": {true, false}, "portable to portable": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := quietHost(t, "a"), quietHost(t, "b")
			from, to := upIn(t, a, portable[0]), upIn(t, b, portable[1])
			w := startWire(t, from, to)
			defer w.end()
			for _, prefix := range []string{"10.0.0.%/24", "fd00::%/64"} {
				before := [2]uint64{from.GSO.Load(), to.GSO.Load()}
				transferOver(t, a, b, prefix)
				wantEngaged(t, from, before[0])
				wantEngaged(t, to, before[1])
			}
		})
	}
}

func transferOver(t *testing.T, a, b *lab.Host, prefix string) {
	t.Helper()
	at := func(h *lab.Host, n string) netip.Addr {
		p := netip.MustParsePrefix(strings.Replace(prefix, "%", n, 1))
		check(t, h.AddAddr("tap0", p))
		return p.Addr()
	}
	near, far := at(a, "1"), at(b, "2")
	_, err := lab.Transfer(a, b, netip.AddrPortFrom(far, 0), 8<<20)
	check(t, err)
	_, err = lab.Transfer(b, a, netip.AddrPortFrom(near, 0), 1<<20)
	check(t, err)
}

// wantEngaged wants super-frames to have passed where the device has them.
func wantEngaged(t *testing.T, d *Device, before uint64) {
	t.Helper()
	if passed := d.GSO.Load() - before; (passed > 0) != d.Offloads().TCP {
		t.Errorf("offloads are %+v, and %d TCP super-frames passed", d.Offloads(), passed)
	}
}
