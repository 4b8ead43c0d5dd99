package interop

import (
	"fmt"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// Tests named TestUserUser… have weft at both ends: they run on a kernel that
// has no vxlan too.

func TestUserUserPing(t *testing.T) {
	t.Parallel()
	for _, u := range underlays {
		for _, word := range []string{"on", "off"} {
			t.Run(u.name+"/offload-"+word, func(t *testing.T) {
				a, b := connect(t, pairing{user, user}, u, withOffload(word))
				capture := lab.TestCapture(t, b.Host, "eth0")
				for i := range innerA {
					check(t, a.Ping(innerB[i].Addr(), lab.PingOptions{Count: 3, Size: 1000}).Lost())
					check(t, b.Ping(innerA[i].Addr(), lab.PingOptions{Count: 3, Size: 1000}).Lost())
				}
				if seen := dissect.VXLANs(capture.Stop(), 4789); len(seen) < 24 {
					t.Errorf("%d VXLAN datagrams on the wire, want 24 at least", len(seen))
				}
			})
		}
	}
}

// TestUserUserNoVXLANLink lists every device of both hosts while data flows:
// the kernel's vxlan has no part in it.
func TestUserUserNoVXLANLink(t *testing.T) {
	a, b := connect(t, pairing{user, user}, underlay4, nil)
	done := make(chan error, 1)
	before := b.weft.stats("vxlan0").RxPackets
	go func() {
		_, err := lab.Transfer(a.Host, b.Host, anyPort(innerB[0]), largeTransfer(t))
		done <- err
	}()
	check(t, lab.Eventually(waitLimit, func() error {
		if n := b.weft.stats("vxlan0").RxPackets - before; n < 10 {
			return fmt.Errorf("%d packets so far", n)
		}
		return nil
	}))
	for _, v := range []*vtep{a, b} {
		kinds := map[string]string{}
		for _, l := range linkList(t, v.Host) {
			kinds[l.Attrs().Name] = l.Type()
			if l.Type() == "vxlan" {
				t.Errorf("%s has a link of type vxlan: %s", v.Name, l.Attrs().Name)
			}
		}
		if kinds["vxlan0"] != "tuntap" {
			t.Errorf("%s: devices %v, want a TAP device vxlan0", v.Name, kinds)
		}
	}
	check(t, <-done)
}
