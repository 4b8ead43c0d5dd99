package interop

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// freed is how soon after a deletion the port must be anybody's again.
const freed = 200 * time.Millisecond

// bindError tries to take a UDP port on all addresses of a family, and gives it
// back at once.
func bindError(h *lab.Host, port uint16, ipv6 bool) error {
	return h.Do(func() error {
		family, at := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(port)})
		if ipv6 {
			family, at = unix.AF_INET6, &unix.SockaddrInet6{Port: int(port)}
		}
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if ipv6 {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
				return err
			}
		}
		return unix.Bind(fd, at)
	})
}

func checkHeld(t *testing.T, h *lab.Host, port uint16, ipv6 bool) {
	t.Helper()
	if err := bindError(h, port, ipv6); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%s: taking port %d gave %v, want EADDRINUSE", h.Name, port, err)
	}
}

// checkFreed wants the port to be free in time after what has just been done.
func checkFreed(t *testing.T, h *lab.Host, port uint16, ipv6 bool) {
	t.Helper()
	start := time.Now()
	if err := lab.Eventually(freed, func() error { return bindError(h, port, ipv6) }); err != nil {
		t.Errorf("%s: %v", h.Name, err)
	}
	t.Logf("port %d was free after %v", port, time.Since(start).Round(time.Millisecond))
}

// TestPortIsHeldAndFreed has a port taken when an add returns, and free soon
// after the last link on it is gone, whichever way.
func TestPortIsHeldAndFreed(t *testing.T) {
	for _, u := range underlays {
		for how, del := range map[string]func(v *vtep) error{
			"weft": func(v *vtep) error { v.weft.must("link", "del", "vxlan0"); return nil },
			"ip":   func(v *vtep) error { return v.Delete("vxlan0") },
		} {
			t.Run(u.name+"/"+how, func(t *testing.T) {
				h, _ := lab.TestPair(t)
				v := addVTEP(t, h, user, spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Remote: u.b}})
				ipv6 := u.a.Is6()
				checkHeld(t, h, 4789, ipv6)
				check(t, bindError(h, 4789, !ipv6)) // the other family's was never wanted
				check(t, del(v))
				checkFreed(t, h, 4789, ipv6)
				check(t, v.weft.ended())
				if _, err := h.Device("vxlan0"); err == nil {
					t.Error("the device is still there")
				}
			})
		}
	}
}

// TestPortOutlivesNotItsLastLink deletes the links of a port one by one, beside
// a link on another port and one of the other family.
func TestPortOutlivesNotItsLastLink(t *testing.T) {
	h, _ := lab.TestPair(t)
	v := addVTEP(t, h, user, spec{VXLAN: lab.VXLAN{Name: "one", ID: 1, Port: 4789, Remote: underlay4.b}})
	for i, c := range []struct {
		port   uint16
		remote netip.Addr
	}{{4789, underlay4.b}, {4789, underlay6.b}, {8472, underlay4.b}} {
		v.addLink(t, spec{VXLAN: lab.VXLAN{Name: fmt.Sprint("more", i), ID: 2, Port: c.port, Remote: c.remote}})
	}
	pid := v.weft.pid(t)
	v.weft.must("link", "del", "one")
	checkHeld(t, h, 4789, false)
	check(t, h.Delete("more0"))
	checkFreed(t, h, 4789, false)
	checkHeld(t, h, 4789, true)
	checkHeld(t, h, 8472, false)
	v.weft.must("link", "del", "more1")
	checkFreed(t, h, 4789, true)
	checkHeld(t, h, 8472, false)
	if now := v.weft.pid(t); now != pid {
		t.Errorf("process %d serves now, and %d did at first", now, pid)
	}
	check(t, h.Delete("more2"))
	checkFreed(t, h, 8472, false)
}
