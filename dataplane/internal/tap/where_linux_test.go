//go:build !portable

package tap

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// wantAt wants the device to know its name and its host's namespace.
func wantAt(t *testing.T, d *Device, h *lab.Host, name string) {
	t.Helper()
	got, ns, err := d.Where()
	check(t, err)
	defer unix.Close(ns)
	var stat unix.Stat_t
	check(t, unix.Fstat(ns, &stat))
	want, err := h.Inode()
	check(t, err)
	if got != name || stat.Ino != want {
		t.Errorf("it says %s in namespace %d, want %s in %d", got, stat.Ino, name, want)
	}
	flags, err := unix.FcntlInt(uintptr(ns), unix.F_GETFD, 0)
	check(t, err)
	if flags&unix.FD_CLOEXEC == 0 {
		t.Error("the namespace's descriptor goes to every program that is started")
	}
}

// TestWhere: the device is found wherever it went, under whatever name, and
// goes on working there.
func TestWhere(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		a, b := silentHost(t, "a"), silentHost(t, "b")
		d := upIn(t, a, portable)
		wantAt(t, d, a, "tap0")
		check(t, a.Move("tap0", b))
		wantAt(t, d, b, "tap0")
		link, err := b.Netlink().LinkByName("tap0")
		check(t, err)
		check(t, b.Netlink().LinkSetName(link, "other0"))
		wantAt(t, d, b, "other0")

		check(t, b.SetUp("other0"))
		check(t, b.SendFrame("other0", frameOf(99, 3)))
		batch := NewBatch()
		readSome(t, d, batch)
		wantBatch(t, batch, frameOf(99, 3))
		c := lab.TestCapture(t, b, "other0")
		f := joined(frameOf(98, 4))
		check(t, d.Write(&f[0]))
		wantWritten(t, c, frameOf(98, 4))
		check(t, d.Close())
		wantOnly(t, a)
		wantOnly(t, b)
	})
}

// TestWhereLongName: names of the greatest length come whole.
func TestWhereLongName(t *testing.T) {
	h := silentHost(t, "a")
	const longest = "fifteen-bytes-x"
	d := openIn(t, h, longest, false)
	wantAt(t, d, h, longest)
}
