package interop

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestTunnelGSO carries much over a wire that takes tunnelled super-frames, and
// looks at those: whole, with all lengths right, and never behind what was
// sent after them.
func TestTunnelGSO(t *testing.T) {
	lab.NeedTunnelGSO(t)
	for _, p := range []pairing{{user, kernel}, {user, user}} {
		for _, u := range underlays {
			t.Run(p.String()+"/"+u.name, func(t *testing.T) {
				if p.b == kernel {
					lab.NeedKernelVXLAN(t)
				}
				a, b := connect(t, p, u, byProcess(nil))
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				m, before := newMeter(t, a, b), outOfOrder(t, b.Host)
				capture, err := b.CaptureSnap("eth0", headersOnly)
				check(t, err)
				for i := range innerB {
					transfer(t, a, b, innerB[i], largeTransfer(t))
				}
				checkWhole(t, capture.Stop(), u, p)
				m.checkDrops(t)
				s := m.moved()[0]
				if n := int64(s.Offload.TunnelGSO); n < 2*largeTransfer(t)/(64<<10)/2 {
					t.Errorf("%d super-frames were sent whole", n)
				}
				if n := outOfOrder(t, b.Host) - before; n != 0 {
					t.Errorf("%d segments arrived out of order", n)
				}
			})
		}
	}
}

const headersOnly = 256

// checkWhole looks at the super-frames that a sent.
func checkWhole(t *testing.T, frames []lab.Frame, u underlay, p pairing) {
	t.Helper()
	seen, largest := 0, 0
	for _, e := range dissect.VXLANs(frames, 4789) {
		if outerSource(e) != u.a || e.Frame.Length <= 1500+14 {
			continue
		}
		outer, length := 8+8, e.Frame.Length-14
		switch {
		case e.IPv4 != nil:
			outer += 20
			if int(e.IPv4.Length) != length || e.IPv4.Id == 0 || e.IPv4.Flags != 0 || lab.OnesSum(e.IPv4.Contents) != 0xffff {
				t.Fatalf("outer header of %d bytes: %+v", length, e.IPv4)
			}
		case int(e.IPv6.Length)+40 != length || e.IPv6.FlowLabel != 0:
			t.Fatalf("outer header of %d bytes: %+v", length, e.IPv6)
		default:
			outer += 40
		}
		if int(e.UDP.Length) != length-outer+8+8 || e.UDP.Checksum == 0 || e.UDP.SrcPort < 32768 {
			t.Fatalf("outer UDP of %d bytes: %+v", length, e.UDP)
		}
		if inner := innerLength(e); inner != length-outer-14 {
			continue // a run of datagrams
		}
		seen, largest = seen+1, max(largest, length)
	}
	if seen == 0 || largest < 32<<10 {
		t.Errorf("%v: %d super-frames seen, the largest of %d bytes", p, seen, largest)
	}
}

func innerLength(e *dissect.Encapsulated) int {
	switch ip := e.Inner.NetworkLayer().(type) {
	case *layers.IPv4:
		return int(ip.Length)
	case *layers.IPv6:
		return 40 + int(ip.Length)
	}
	return 0
}

// outOfOrder returns how many segments a host's TCP had to put aside because
// earlier ones were missing.
func outOfOrder(t *testing.T, h *lab.Host) (n int) {
	t.Helper()
	check(t, h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err != nil {
			return err
		}
		names, values, _ := strings.Cut(string(text), "\n")
		values, _, _ = strings.Cut(values, "\n")
		for i, name := range strings.Fields(names) {
			if name == "TCPOFOQueue" {
				n, err = strconv.Atoi(strings.Fields(values)[i])
				return err
			}
		}
		return fmt.Errorf("no TCPOFOQueue in %s", names)
	}))
	return n
}

// TestTunnelGSOOrder has small writes between large ones, on several
// connections at once and both ways: what goes by socket and what goes past it
// arrives in the order in which it was sent.
func TestTunnelGSOOrder(t *testing.T) {
	lab.NeedTunnelGSO(t)
	a, b := connect(t, pairing{user, user}, underlay4, byProcess(nil))
	check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
	m := newMeter(t, a, b)
	before := outOfOrder(t, a.Host) + outOfOrder(t, b.Host)
	failed := make(chan error, 8)
	for i := range cap(failed) {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		go func() {
			var err error
			for n := int64(1); n < largeTransfer(t)/8 && err == nil; n = n*3 + 1 {
				_, err = lab.Transfer(from.Host, to.Host, netip.AddrPortFrom(to.addr, 0), n)
			}
			failed <- err
		}()
	}
	for range cap(failed) {
		check(t, <-failed)
	}
	m.checkDrops(t)
	if n := outOfOrder(t, a.Host) + outOfOrder(t, b.Host) - before; n != 0 {
		t.Errorf("%d segments arrived out of order", n)
	}
	for _, s := range m.moved() {
		if s.Offload.TunnelGSO == 0 {
			t.Error("nothing was sent whole")
		}
	}
}

// TestTunnelGSOInterface: the private interface is there as long as a link
// with offloads is, is no link, and when somebody takes it away the sockets
// take over.
func TestTunnelGSOInterface(t *testing.T) {
	t.Parallel()
	lab.NeedTunnelGSO(t)
	const name = "weft-tx0"
	a, b := connect(t, pairing{user, user}, underlay4, byProcess(nil))
	if _, err := a.Device(name); err != nil {
		t.Error(err)
	}
	if show := a.weft.must("link", "show"); strings.Contains(show, name) || !strings.Contains(show, "tunnel_gso on") {
		t.Errorf("link show says %s", show)
	}
	check(t, a.Delete(name))
	m := newMeter(t, a)
	transfer(t, a, b, innerB[0], smallTransfer(t))
	m.checkDrops(t)
	if s := m.moved()[0].Offload; s.TunnelGSO != 0 || s.UDPGSO == 0 {
		t.Errorf("offloads that carried something: %+v", s)
	}
	if log := a.weft.log(); strings.Count(log, "super-frames are cut before they are sent") != 1 || !strings.Contains(log, name) {
		t.Errorf("the log says %s", log)
	}
	if show := a.weft.must("link", "show"); !strings.Contains(show, "tunnel_gso off (") {
		t.Errorf("link show says %s", show)
	}
	b.weft.must("link", "del", "vxlan0")
	check(t, lab.Eventually(5*time.Second, func() error {
		if _, err := b.Device(name); err == nil {
			return fmt.Errorf("%s outlives the last link", name)
		}
		return nil
	}))
}
