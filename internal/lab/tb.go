//go:build linux

package lab

import "sync"

// TB is the part of testing.TB that the shorthands want.
type TB interface {
	Helper()
	Name() string
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
}

// A machine does not change while tests run, so each thing is probed once.
var (
	lackOfKernelVXLAN = sync.OnceValue(probeKernelVXLAN)
	lackOfTUN         = sync.OnceValue(probeTUN)
	lackOfBridge      = sync.OnceValue(probeBridge)
)

// LackOfKernelVXLAN says what is missing where the kernel has no vxlan; nil
// where it has one.
func LackOfKernelVXLAN() *Lack { return lackOfKernelVXLAN() }

// LackOfTUN does so where /dev/net/tun is missing or may not be opened.
func LackOfTUN() *Lack { return lackOfTUN() }

// NeedKernelVXLAN skips the test, and has Main list it, where the kernel has
// no vxlan.
func NeedKernelVXLAN(t TB) { t.Helper(); need(t, lackOfKernelVXLAN()) }

// NeedTUN does so where /dev/net/tun is missing or may not be opened.
func NeedTUN(t TB) { t.Helper(); need(t, lackOfTUN()) }

// NeedBridge does so where the kernel has no bridges, and so no Switch.
func NeedBridge(t TB) { t.Helper(); need(t, lackOfBridge()) }

// NeedLinux does so on a kernel before major.minor; what names the thing that
// came with it.
func NeedLinux(t TB, major, minor int, what string) {
	t.Helper()
	need(t, lackOfLinux(major, minor, what))
}

func need(t TB, lack *Lack) {
	t.Helper()
	if lack == nil {
		return
	}
	leaveOut(t.Name(), lack)
	t.Skipf("%v", lack)
}

// TestHost makes a host that is closed with the test.
func TestHost(t TB, name string) *Host {
	t.Helper()
	h, err := NewHost(name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("closing %s: %v", name, err)
		}
	})
	return h
}

// TestPair makes two hosts on one wire, see Pair, that are closed with the test.
func TestPair(t TB) (a, b *Host) {
	t.Helper()
	a, b = TestHost(t, "a"), TestHost(t, "b")
	if err := Pair(a, b); err != nil {
		t.Fatalf("%v", err)
	}
	return a, b
}

// TestCapture starts a capture that is stopped with the test's host.
func TestCapture(t TB, h *Host, dev string) *Capture {
	t.Helper()
	c, err := h.Capture(dev)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return c
}
