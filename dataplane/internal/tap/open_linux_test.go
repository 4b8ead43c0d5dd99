//go:build !portable

package tap

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// names are those of the host's interfaces.
func names(t *testing.T, h *lab.Host) (all []string) {
	t.Helper()
	links, err := h.Netlink().LinkList()
	check(t, err)
	for _, l := range links {
		all = append(all, l.Attrs().Name)
	}
	return all
}

// wantOnly wants the host to have no interfaces but its loopback and these.
func wantOnly(t *testing.T, h *lab.Host, want ...string) {
	t.Helper()
	var got []string
	for _, name := range names(t, h) {
		if name != "lo" {
			got = append(got, name)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("interfaces %q, want %q", got, want)
	}
}

// TestOpen: the interface is there as long as the Device is.
func TestOpen(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := openIn(t, h, "tap0", portable)
		device, err := h.Device("tap0")
		check(t, err)
		if device.Kind != "tuntap" && device.Kind != "tun" {
			t.Errorf("it is a %q", device.Kind)
		}
		if o := d.Offloads(); o.Header == portable || portable && (o.TCP || o.UDP) || !portable && !o.TCP {
			t.Errorf("offloads %+v", o)
		}
		check(t, d.Close())
		wantOnly(t, h)
	})
}

// TestOffloads: what is offered is what the kernel has switched on.
func TestOffloads(t *testing.T) {
	h := silentHost(t, "a")
	d := openIn(t, h, "tap0", false)
	on, err := h.Offloads("tap0")
	check(t, err)
	t.Logf("%+v, %+v", d.Offloads(), on)
	var u unix.Utsname
	check(t, unix.Uname(&u))
	release := unix.ByteSliceToString(u.Release[:])
	major, minor := 0, 0
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err == nil && (major > 6 || major == 6 && minor >= 2) && !d.Offloads().UDP {
		t.Errorf("Linux %s gives UDP super-frames, and they are not used", release)
	}
}

// TestOpenTaken: an interface of that name is left alone, whatever it is, and
// the error says what is the matter.
func TestOpenTaken(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		openIn(t, h, "tap0", false)
		openIn(t, h, "tap1", true)
		for _, l := range []netlink.Link{
			&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "other0"}},
			&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "other0"}},
			&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "other0"}, Mode: netlink.TUNTAP_MODE_TUN},
			&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "other0"}, Mode: netlink.TUNTAP_MODE_TAP}, // persistent, nobody attached
		} {
			if err := addIn(h, l); err != nil {
				continue // the kernel has none
			}
			wantRefused(t, h, "other0", portable)
			wantOnly(t, h, "tap0", "tap1", "other0")
			check(t, h.Delete("other0"))
		}
		wantRefused(t, h, "tap0", portable)
		wantRefused(t, h, "tap1", portable)
		wantOnly(t, h, "tap0", "tap1")
	})
}

func addIn(h *lab.Host, l netlink.Link) error {
	return h.Do(func() error {
		err := netlink.LinkAdd(l)
		if tun, ok := l.(*netlink.Tuntap); ok {
			for _, f := range tun.Fds {
				f.Close()
			}
		}
		return err
	})
}

func wantRefused(t *testing.T, h *lab.Host, name string, portable bool) {
	t.Helper()
	err := h.Do(func() error {
		d, err := Open(name, portable)
		if err == nil {
			d.Close()
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "exists") {
		t.Errorf("%s is taken: %v", name, err)
	}
}

// TestOpenTakenLeavesNoDescriptor: what was refused holds nothing.
func TestOpenTakenLeavesNoDescriptor(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		openIn(t, h, "tap0", false)
		wantRefused(t, h, "tap0", portable)
		before := tunDescriptors(t)
		for range 5 {
			wantRefused(t, h, "tap0", portable)
		}
		if after := tunDescriptors(t); after != before {
			t.Errorf("%d descriptors of /dev/net/tun are open after 5 refusals more, %d before", after, before)
		}
	})
}

func tunDescriptors(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && target == "/dev/net/tun" {
			n++
		}
	}
	return n
}

// TestOpenOddNames: whatever becomes of a name that the kernel does not take as
// it is (it fills in %d, and has no room for more than 15 bytes), nothing is
// left of it when the Device is closed.
func TestOpenOddNames(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		for _, name := range []string{"w%d", "sixteen-bytes-xx", "a-name-much-longer-than-that", "", "a/b", "a b"} {
			h := silentHost(t, "a")
			err := h.Do(func() error {
				d, err := Open(name, portable)
				if err == nil {
					err = d.Close()
				}
				return err
			})
			if err == nil && len(name) > 15 {
				t.Errorf("name %q: cut off", name)
			}
			if got := names(t, h); len(got) != 1 {
				t.Errorf("name %q: interfaces %q are left (%v)", name, got, err)
			}
		}
	})
}

// TestDescriptorsAreNotInherited: programs that are started while the device
// is open would keep it alive.
func TestDescriptorsAreNotInherited(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := openIn(t, h, "tap0", portable)
		flags, err := unix.FcntlInt(uintptr(d.FD()), unix.F_GETFD, 0)
		check(t, err)
		if flags&unix.FD_CLOEXEC == 0 {
			t.Error("the descriptor goes to every program that is started")
		}
		flags, err = unix.FcntlInt(uintptr(d.FD()), unix.F_GETFL, 0)
		check(t, err)
		if !portable && flags&unix.O_NONBLOCK == 0 {
			t.Error("reading would wait")
		}
	})
}
