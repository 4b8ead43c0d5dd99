package interop

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestMTU makes links over underlays of some MTUs, and beside each the kernel's
// device of the same words: both must come to the same number.
func TestMTU(t *testing.T) {
	t.Parallel()
	lab.NeedKernelVXLAN(t)
	for _, lower := range []int{1500, 1400, 9000} {
		t.Run(fmt.Sprint(lower), func(t *testing.T) {
			t.Parallel()
			w := newLoneWeft(t)
			check(t, w.host.SetMTU("eth0", lower))
			for i, c := range []struct {
				dev          string
				mtu          int // 0 = none given
				want4, want6 int
			}{
				{"eth0", 0, lower - 50, lower - 70},
				{"eth0", 1000, 1000, 1000},
				{"eth0", lower - 70, lower - 70, lower - 70},
				{"eth0", lower, lower - 50, lower - 70}, // clamped, as is the next
				{"eth0", 65535, lower - 50, lower - 70},
				{"eth0", 68, 68, 68},
				{"", 0, 1500, 1500}, // whatever the route's device has
				{"", lower + 100, lower + 100, lower + 100},
				{"", 68, 68, 68},
			} {
				for _, u := range underlays {
					want := map[bool]int{true: c.want4, false: c.want6}[u.a.Is4()]
					v := lab.VXLAN{ID: uint32(i), Port: 4789, Local: u.a, Remote: u.b, Dev: c.dev, MTU: c.mtu}
					checkMTU(t, w, v, want)
				}
			}
			// What the underlay becomes later does not matter.
			check(t, w.host.SetMTU("eth0", 1280))
			for _, l := range w.links() {
				d, err := w.host.Device(strings.Replace(l.Name, "weft", "kernel", 1))
				check(t, err)
				if l.MTU != d.MTU {
					t.Errorf("%s is shown with mtu %d, and the kernel's has %d, once the underlay had less", l.Name, l.MTU, d.MTU)
				}
			}
			check(t, syscall.Kill(w.pid(t), syscall.SIGTERM)) // takes the many links along at once
		})
	}
}

// checkMTU makes the two devices, whose names end alike.
func checkMTU(t *testing.T, w *weft, v lab.VXLAN, want int) {
	t.Helper()
	family := map[bool]int{true: 4, false: 6}[v.Local.Is4()]
	v.Name = fmt.Sprint("kernel", v.ID, "-", family)
	check(t, w.host.AddKernelVXLAN(v))
	control, err := w.host.Device(v.Name)
	check(t, err)
	v.Name = fmt.Sprint("weft", v.ID, "-", family)
	w.must((&spec{VXLAN: v}).command()...)
	d, err := w.host.Device(v.Name)
	check(t, err)
	if d.MTU != want || control.MTU != want {
		t.Errorf("local %v dev %q mtu %d: %d and the kernel's %d, want %d", v.Local, v.Dev, v.MTU, d.MTU, control.MTU, want)
	}
}

// TestMTURefused asks for less than any IP packet needs.
func TestMTURefused(t *testing.T) {
	t.Parallel()
	lab.NeedKernelVXLAN(t)
	w := newLoneWeft(t)
	s := newScene(t, w)
	for _, dev := range []string{"eth0", ""} {
		for _, mtu := range []int{1, 67} {
			v := lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Remote: underlay4.b, Dev: dev, MTU: mtu}
			if err := w.host.AddKernelVXLAN(v); err == nil {
				t.Errorf("the kernel takes mtu %d", mtu)
			}
			s.refused(t, 2, (&spec{VXLAN: v}).command(), fmt.Sprintf("mtu %d", mtu), "68-65535")
		}
	}
}
