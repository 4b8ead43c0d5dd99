//go:build linux

package lab_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// netNS names the calling thread's network namespace.
func netNS(t *testing.T) string {
	t.Helper()
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	check(t, err)
	return ns
}

func TestDoRunsInTheHost(t *testing.T) {
	h := lab.TestHost(t, "a")
	home := netNS(t)
	inode, err := h.Inode()
	check(t, err)
	var in string
	check(t, h.Do(func() error {
		in = netNS(t)
		// From within one host into another and back.
		return lab.TestHost(t, "b").Do(func() error {
			if netNS(t) == in {
				return fmt.Errorf("host b is host a")
			}
			return nil
		})
	}))
	if want := fmt.Sprintf("net:[%d]", inode); in != want || in == home {
		t.Errorf("Do ran in %s, want %s; the test is in %s", in, want, home)
	}
	if now := netNS(t); now != home {
		t.Errorf("after Do the test is in %s, was in %s", now, home)
	}
}

// TestDoSurvivesGoexit has a function leave as t.FailNow does: Do must return
// and the thread must not stay in the host.
func TestDoSurvivesGoexit(t *testing.T) {
	h := lab.TestHost(t, "a")
	if err := h.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("Do returned no error for a function that did not return")
	}
	check(t, h.Do(func() error { return nil }))
}

func TestSysctl(t *testing.T) {
	a, b := lab.TestHost(t, "a"), lab.TestHost(t, "b")
	check(t, a.Sysctl("net.ipv4.ip_default_ttl", "17"))
	for h, want := range map[*lab.Host]string{a: "17", b: "64"} {
		check(t, h.Do(func() error {
			got, err := os.ReadFile("/proc/sys/net/ipv4/ip_default_ttl")
			if strings.TrimSpace(string(got)) != want {
				t.Errorf("host %s has %s, want %s", h.Name, got, want)
			}
			return err
		}))
	}
	if a.Sysctl("net.no.such", "1") == nil {
		t.Error("a parameter that is not there was set")
	}
}

func TestDeviceFactsAndMove(t *testing.T) {
	a, b := lab.TestPair(t)
	d, err := a.Device("eth0")
	check(t, err)
	if d.MTU != 1500 || d.Kind != "veth" || len(d.MAC) != 6 || d.Flags.String() == "" {
		t.Errorf("device %+v", d)
	}
	has := func(p netip.Prefix) bool { return strings.Contains(fmt.Sprint(d.Addresses), p.String()) }
	if !has(lab.PairA4) || !has(lab.PairA6) {
		t.Errorf("addresses %v, want %v and %v", d.Addresses, lab.PairA4, lab.PairA6)
	}
	check(t, a.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "spare", TxQLen: -1}, PeerName: "other"}))
	check(t, a.Move("spare", b))
	if _, err := a.Device("spare"); err == nil {
		t.Error("the moved device is still there")
	}
	check(t, b.Delete("spare"))
}

// TestCloseEndsTheNamespace looks from the world, which holds the other end of
// a wire: that end goes when the kernel has ended the namespace.
func TestCloseEndsTheNamespace(t *testing.T) {
	threads := len(dirNames(t, "/proc/self/task"))
	for range 5 {
		h, err := lab.NewHost("a")
		check(t, err)
		check(t, h.Do(func() error {
			return netlink.LinkAdd(&netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: "eth0", TxQLen: -1}, PeerName: "lab0", PeerNamespace: netlink.NsPid(os.Getpid()),
			})
		}))
		sleeper, err := h.Spawn(nil, "sleep", "600")
		check(t, err)
		_, err = h.Capture("eth0")
		check(t, err)
		check(t, h.Close())
		check(t, h.Close())
		if out, err := sleeper.Wait(0); err != nil || out.Status != 128+15 {
			t.Errorf("after Close the host's process: %+v, %v", out, err)
		}
		check(t, lab.Eventually(waitLimit, func() error {
			if _, err := netlink.LinkByName("lab0"); err == nil {
				return fmt.Errorf("the other end of the wire is still there")
			}
			return nil
		}))
		if err := h.Start(exec.Command("true")); err == nil {
			t.Error("a closed host started a command")
		}
	}
	home := netNS(t)
	for _, task := range dirNames(t, "/proc/self/task") {
		if ns, err := os.Readlink("/proc/self/task/" + task + "/ns/net"); err == nil && ns != home {
			t.Errorf("thread %s stayed in %s", task, ns)
		}
	}
	for _, fd := range dirNames(t, "/proc/self/fd") {
		if to, err := os.Readlink("/proc/self/fd/" + fd); err == nil && strings.HasPrefix(to, "net:") {
			t.Errorf("descriptor %s still holds %s", fd, to)
		}
	}
	if now := len(dirNames(t, "/proc/self/task")); now > threads+10 {
		t.Errorf("%d threads after five hosts, %d before", now, threads)
	}
}

func dirNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestNoGoroutineStays counts them after everything that starts some.
func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("all", func(t *testing.T) {
		a, b := lab.TestPair(t)
		lab.TestCapture(t, a, "eth0")
		pingOnce(t, a, lab.PairB6.Addr(), lab.PingOptions{})
		_, err := lab.Transfer(a, b, anyPort(lab.PairB4), 1000)
		check(t, err)
		_, err = lab.Echo(a, b, anyPort(lab.PairB4), []int{1})
		check(t, err)
		_, err = a.Run(nil, "true")
		check(t, err)
	})
	check(t, lab.Eventually(waitLimit, func() error {
		if now := runtime.NumGoroutine(); now > before {
			return fmt.Errorf("%d goroutines, %d before", now, before)
		}
		return nil
	}))
}
