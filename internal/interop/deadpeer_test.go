package interop

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestDeadPeer has a link to a peer that lives and one to a host without a
// VTEP, over the same port and from the same source ports. The ICMP errors of
// the second host must not cost the first one a frame: an error that a socket
// has been told of would fail its next send, to whomever.
func TestDeadPeer(t *testing.T) {
	t.Parallel()
	lab.NeedBridge(t)
	for _, p := range pairings {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(p.String()+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				living, dead, b := deadPeer(t, p, u)
				capture, err := living.CaptureSnap("eth0", 200)
				check(t, err)
				stop, stopped := make(chan struct{}), make(chan error)
				frames := flows(t, 256, false)
				go func() { stopped <- sendUntil(dead, frames, stop) }()
				check(t, pingThrough(living, b.addr, capture))
				close(stop)
				check(t, <-stopped)
				for _, v := range []*vtep{living, dead} {
					if drops := v.figures(t).weft.Drops; drops["send_error"]+drops["no_route"] > 0 {
						t.Errorf("%s did not send some: %v", v.link, drops)
					}
				}
			})
		}
	}
}

// pingThrough pings an address 200 times and until as many ICMP errors have
// come in meanwhile, and wants every ping answered.
func pingThrough(from *vtep, to netip.Addr, capture *lab.Capture) error {
	var lost error // one is enough to end it
	err := lab.Eventually(2*waitLimit, func() error {
		lost = from.Ping(to, lab.PingOptions{Count: 200}).Lost()
		refusals := 0
		for _, f := range capture.Frames() {
			if !f.Outgoing && isPortUnreachable(f) {
				refusals++
			}
		}
		if lost == nil && refusals < 200 {
			return fmt.Errorf("%d ICMP errors seen, want 200 at least for the test to mean something", refusals)
		}
		return nil
	})
	return errors.Join(lost, err)
}

// deadPeer makes three hosts on a switch. The first has a link to the second,
// b, and one to the third, which has none.
func deadPeer(t *testing.T, p pairing, u underlay) (living, dead, b *vtep) {
	t.Helper()
	ha, hb, hc := lab.TestHost(t, "a"), lab.TestHost(t, "b"), lab.TestHost(t, "dead")
	c4, c6 := netip.MustParsePrefix("10.211.55.13/24"), netip.MustParsePrefix("fd00:211:55::13/64")
	sw, err := lab.NewSwitch(
		lab.Port{Host: ha, Addrs: []netip.Prefix{lab.PairA4, lab.PairA6}},
		lab.Port{Host: hb, Addrs: []netip.Prefix{lab.PairB4, lab.PairB6}},
		lab.Port{Host: hc, Addrs: []netip.Prefix{c4, c6}},
	)
	check(t, err)
	t.Cleanup(func() { _ = sw.Close() })
	// As many errors as there are datagrams.
	check(t, hc.Sysctl("net.ipv4.icmp_ratelimit", "0"))
	check(t, hc.Sysctl("net.ipv6.icmp.ratelimit", "0"))
	nobody := c4.Addr()
	if u == underlay6 {
		nobody = c6.Addr()
	}
	link := func(name string, id uint32, remote netip.Addr, addrs []netip.Prefix) spec {
		return spec{VXLAN: lab.VXLAN{Name: name, ID: id, Port: 4789, Remote: remote, Dev: "eth0"}, Addrs: addrs}
	}
	b = addVTEP(t, hb, p.b, link("vxlan0", 5, u.a, innerB))
	living = addVTEP(t, ha, p.a, link("vxlan0", 5, u.b, innerA))
	return living, living.another(t, link("vxlan1", 6, nobody, nil)), b
}

// sendUntil sends frames through a link over and over.
func sendUntil(v *vtep, frames [][]byte, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
			if err := v.SendFrame(v.link, frames...); err != nil {
				return err
			}
		}
	}
}
