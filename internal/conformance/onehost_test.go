package conformance

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// Links of one host that reach each other, as in test_vxlan_nolocalbypass.sh.
// The kernel's device hands a frame for an address of its own host over to the
// device there, if that is the kernel's too; weft sends it through the host's
// sockets, which is what `nolocalbypass` does.

// Addresses of the host: where one link is, and where the other is asked for.
var (
	bypassLocal  = netip.MustParsePrefix("198.51.100.1/32")
	bypassRemote = netip.MustParsePrefix("192.0.2.1/32")
	bypassLocal6 = netip.MustParsePrefix("2001:db8::1/128")
	bypassOther6 = netip.MustParsePrefix("2001:db8::2/128")
)

// newOneHost makes a host with both addresses of a family.
func newOneHost(t *testing.T, v6 bool) (h *lab.Host, local, remote netip.Addr) {
	t.Helper()
	h = lab.TestHost(t, "host")
	a, b := bypassLocal, bypassRemote
	if v6 {
		a, b = bypassLocal6, bypassOther6
	}
	check(t, h.AddAddr("lo", a))
	check(t, h.AddAddr("lo", b))
	return h, a.Addr(), b.Addr()
}

// wantCarried sends a frame out of one link and wants it in by another, once.
// Which one it is, payload tells.
func wantCarried(t *testing.T, from *link, to *tally, payload byte) {
	t.Helper()
	frame := ether(mac(macB), mac(macA), typeLocal, bytes.Repeat([]byte{payload}, 86))
	check(t, from.SendFrame(from.dev, frame))
	to.await(t, 1, func(f lab.Frame) bool { return bytes.Equal(f.Data, frame) })
}

// The script's second part: a link and the kernel's device reach each other on
// one host where that device does not bypass the sockets. The device may be told so, or
// the contrary, while it runs.
func TestNoLocalBypass(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		lab.NeedLinux(t, 6, 5, "nolocalbypass of vxlan devices")
		h, local, remote := newOneHost(t, v6)
		vx0 := newLink(t, h, k, spec{VXLAN: lab.VXLAN{Name: "vx0", ID: 100, Port: 4789, Local: local, NoLearning: true, NoLocalBypass: true}})
		vx1 := newLink(t, h, kernel, spec{VXLAN: lab.VXLAN{Name: "vx1", ID: 100, Port: 4790, Local: remote, NoLearning: true}})
		vx0.fdb(t, "add", macB, "self", "static", "dst", remote.String(), "port", "4790")
		vx1.fdb(t, "add", macB, "self", "static", "dst", local.String(), "port", "4789")
		at0, at1 := newTally(t, h, "vx0"), newTally(t, h, "vx1")
		wantCarried(t, vx0, at1, 1)
		if k == user { // a device that bypasses finds no other of the kernel's
			before := vx1.figures(t).txErrors
			check(t, h.SendFrame("vx1", ether(mac(macB), mac(macA), typeLocal, make([]byte, 86))))
			vx1.awaitFigure(t, "tx_errors", func(f figures) uint64 { return f.txErrors }, before+1)
		}
		check(t, h.ChangeKernelVXLAN(lab.VXLAN{Name: "vx1", NoLocalBypass: true}))
		wantCarried(t, vx1, at0, 2)
		wantCarried(t, vx0, at1, 3)
	})
}

// What is learnt through the bypass is at the loopback address; without one it
// is where it is.
func TestLocalBypassLearning(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		h, local, remote := newOneHost(t, false)
		vx0 := newLink(t, h, k, spec{VXLAN: lab.VXLAN{Name: "vx0", ID: 100, Port: 4789, Local: local}})
		vx1 := vx0.sibling(t, spec{VXLAN: lab.VXLAN{Name: "vx1", ID: 100, Port: 4790}})
		vx0.fdb(t, "add", macB, "self", "static", "dst", remote.String(), "port", "4790")
		wantCarried(t, vx0, newTally(t, h, "vx1"), 1)
		source := local.String()
		if k == kernel {
			source = "127.0.0.1"
		}
		vx1.awaitEntry(t, macA, macA+" dst "+source+" self ")
	})
}
