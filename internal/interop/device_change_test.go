package interop

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What plain ip does to weft's device is followed.

// onDevice applies a netlink call to one of a host's devices.
func onDevice(t *testing.T, h *lab.Host, dev string, call func(netlink.Link) error) {
	t.Helper()
	link, err := h.Netlink().LinkByName(dev)
	check(t, err)
	check(t, call(link))
}

// TestDownAndUp stops and resumes traffic, at either kind of end alike. While
// it is down, the link holds its port: it may not be lost to somebody else.
func TestDownAndUp(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String(), func(t *testing.T) {
			a, b := connect(t, p, underlay4, nil)
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			for range 2 {
				check(t, a.SetDown("vxlan0"))
				if b.Ping(a.addr, lab.PingOptions{Timeout: 50 * time.Millisecond}).Received != 0 {
					t.Error("a ping was answered by a device that is down")
				}
				if a.kind == user {
					checkHeld(t, a.Host, 4789, false)
				}
				check(t, a.SetUp("vxlan0"))
				check(t, lab.Eventually(waitLimit, func() error {
					return b.Ping(a.addr, lab.PingOptions{Timeout: 50 * time.Millisecond}).Lost()
				}))
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			}
			if a.kind == user && a.weft.stats("vxlan0").Drops["device_down"] == 0 {
				t.Error("no drop was counted as device_down")
			}
		})
	}
}

// TestRename finds a link by the name that its device has now.
func TestRename(t *testing.T) {
	t.Parallel()
	a, b := connect(t, pairing{user, kernel}, underlay4, nil)
	check(t, a.SetDown("vxlan0")) // devices that are up could not be renamed before Linux 6.0
	onDevice(t, a.Host, "vxlan0", func(l netlink.Link) error { return a.Netlink().LinkSetName(l, "tenant5") })
	check(t, a.SetUp("tenant5"))
	check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
	if out := a.weft.must("link", "show", "tenant5"); !strings.Contains(out, ": tenant5: <") {
		t.Errorf("link show tenant5: %q", out)
	}
	if s := a.weft.stats("tenant5"); s.Name != "tenant5" || s.RxPackets == 0 {
		t.Errorf("stats tenant5: %+v", s)
	}
	if out := a.weft.run("link", "show", "vxlan0"); out.Status != 1 || !strings.Contains(out.Stderr, "tenant5") {
		t.Errorf("link show vxlan0: status %d, %q, want the names that there are", out.Status, out.Stderr)
	}
	// The name is free for another link; its old holder stays what it is.
	a.weft.must(addWords("vxlan0", 9)...)
	a.weft.must("link", "del", "vxlan0")
	if got := a.weft.names(); !slices.Equal(got, []string{"tenant5"}) {
		t.Errorf("links left: %v", got)
	}
	a.weft.must("link", "del", "tenant5")
	check(t, a.weft.ended())
}

// TestAddressChange has a frame dropped as its own when it comes from the
// address that the device has by then, and not the one it had.
func TestAddressChange(t *testing.T) {
	t.Parallel()
	first, second := net.HardwareAddr{2, 0, 0, 0, 0, 0x11}, net.HardwareAddr{2, 0, 0, 0, 0, 0x22}
	a := newAlone(t, user, underlay4, func(_ *lab.Host, s *spec) { s.Address = first })
	from := func(mac net.HardwareAddr, mark int) []byte {
		return readdressed(ether(mark, typeLocal, []byte("mine?")), nil, mac)
	}
	before := a.weft.stats("vxlan0")
	a.forge(t, vxlan(5, from(first, 1)), lab.DatagramOptions{})
	before = a.weft.drops(before, "own_source", 1)
	onDevice(t, a.Host, "vxlan0", func(l netlink.Link) error { return a.Netlink().LinkSetHardwareAddr(l, second) })
	check(t, lab.Eventually(waitLimit, func() error {
		if got := a.weft.links()[0].Address; got != second.String() {
			return fmt.Errorf("weft shows %s", got)
		}
		return nil
	}))
	a.forge(t, vxlan(5, from(first, 2)), lab.DatagramOptions{})
	a.delivered(t, from(first, 2))
	a.forge(t, vxlan(5, from(second, 3)), lab.DatagramOptions{})
	a.weft.drops(before, "own_source", 1)
}

// TestMTUChange has weft cut super-frames for the MTU that the device has by
// then.
func TestMTUChange(t *testing.T) {
	t.Parallel()
	a, b := connect(t, pairing{kernel, user}, underlay4, nil)
	check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
	for _, mtu := range []int{1000, 1450} {
		check(t, b.SetMTU("vxlan0", mtu))
		check(t, lab.Eventually(waitLimit, func() error {
			if got := b.weft.links()[0].MTU; got != mtu {
				return fmt.Errorf("weft shows mtu %d", got)
			}
			return nil
		}))
		wire, inside := lab.TestCapture(t, a.Host, "eth0"), lab.TestCapture(t, b.Host, "vxlan0")
		transfer(t, a, b, innerB[0], mib)
		check(t, b.Ping(a.addr, lab.PingOptions{Size: mtu - 28, DF: true}).Lost())
		if r := b.Ping(a.addr, lab.PingOptions{Size: mtu - 27, DF: true}); r.Err == nil {
			t.Errorf("mtu %d: a ping of one byte more left the host", mtu)
		}
		largest := 0
		for _, e := range dissect.VXLANs(wire.Stop(), 4789) {
			if outerSource(e) == underlay4.b {
				largest = max(largest, len(e.Inner.Data())-14)
			}
		}
		if largest != mtu {
			t.Errorf("mtu %d: the largest packet that weft sent has %d bytes", mtu, largest)
		}
		checkReceived(t, inside.Stop(), netip.MustParseAddr("10.20.1.2"))
	}
}

// checkReceived wants TCP segments to have come out of a device.
func checkReceived(t *testing.T, frames []lab.Frame, from netip.Addr) {
	t.Helper()
	for _, f := range frames {
		p := dissect.Packet(f)
		ip, ok := p.NetworkLayer().(*layers.IPv4)
		if ok && p.Layer(layers.LayerTypeTCP) != nil && ip.SrcIP.Equal(from.AsSlice()) && f.Length > 500 {
			return
		}
	}
	t.Errorf("none of %d frames is a segment from %v", len(frames), from)
}
