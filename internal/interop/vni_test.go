package interop

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestVNI has the least and the largest VNI, and some whose bytes differ, on
// ports that differ too.
func TestVNI(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, c := range []struct {
			vni  uint32
			port uint16
		}{{0, 4789}, {1, 8472}, {0x123456, 4789}, {1<<24 - 1, 8472}, {1<<24 - 1, 1111}} {
			t.Run(fmt.Sprintf("%s/%d on %d", p, c.vni, c.port), func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, p, underlay4, func(a, b *spec) {
					a.ID, a.Port, b.ID, b.Port = c.vni, c.port, c.vni, c.port
				})
				capture := lab.TestCapture(t, b.Host, "eth0")
				check(t, a.Ping(b.addr, lab.PingOptions{Count: 3}).Lost())
				check(t, b.Ping(a.addr, lab.PingOptions{Count: 3}).Lost())
				seen := dissect.VXLANs(capture.Stop(), c.port)
				if len(seen) < 12 {
					t.Errorf("%d datagrams on port %d, want 12 at least", len(seen), c.port)
				}
				for _, e := range seen {
					if want := vxlan(c.vni, nil); string(e.Header) != string(want) || e.VXLAN.VNI != c.vni {
						t.Errorf("VXLAN header % x, want % x", e.Header, want)
					}
				}
			})
		}
	}
}

// TestVNITooLarge is refused, and nothing is left of it.
func TestVNITooLarge(t *testing.T) {
	t.Parallel()
	lab.NeedTUN(t)
	h := lab.TestHost(t, "a")
	w := newWeft(t, h)
	for _, id := range []string{"16777216", "4294967296", "5x"} {
		out := w.run("link", "add", "vxlan0", "type", "vxlan", "id", id, "dstport", "4789")
		if out.Status != 2 || !strings.HasPrefix(out.Stderr, "weft: ") || !strings.Contains(out.Stderr, "0-16777215") || !strings.Contains(out.Stderr, id) {
			t.Errorf("id %s: status %d: %q; want 2, and the range named", id, out.Status, out.Stderr)
		}
	}
	if _, err := h.Device("vxlan0"); err == nil || len(w.sockets()) > 0 {
		t.Errorf("left: device %v, daemons %v", err == nil, w.sockets())
	}
}

// TestDefaultPort leaves dstport out: it is 8472, as ip has it, with ip's hint.
func TestDefaultPort(t *testing.T) {
	t.Parallel()
	lab.NeedTUN(t)
	a, b := lab.TestPair(t)
	addVTEP(t, b, kernel, spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Remote: underlay4.a}, Addrs: innerB})
	w := newWeft(t, a)
	out := w.run("link", "add", "vxlan0", "type", "vxlan", "id", "5", "remote", underlay4.b.String())
	if out.Status != 0 || !strings.Contains(out.Stderr, "4789") || !strings.Contains(out.Stderr, "8472") {
		t.Errorf("status %d: %q; want 0 and both ports named", out.Status, out.Stderr)
	}
	check(t, a.AddAddr("vxlan0", innerA[0]))
	check(t, a.SetUp("vxlan0"))
	capture := lab.TestCapture(t, b, "eth0")
	check(t, a.Ping(innerB[0].Addr(), lab.PingOptions{}).Lost())
	if seen := capture.Stop(); len(dissect.VXLANs(seen, 8472)) < 4 || len(dissect.VXLANs(seen, 4789)) > 0 {
		t.Errorf("%d datagrams on port 8472, %d on 4789", len(dissect.VXLANs(seen, 8472)), len(dissect.VXLANs(seen, 4789)))
	}
}

// TestWrongVNI has ends that do not agree on the VNI: each drops what the
// other sends, and counts it.
func TestWrongVNI(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			a, b := connect(t, p, underlay4, func(_, b *spec) { b.ID = 50 })
			capture := lab.TestCapture(t, b.Host, "eth0")
			if r := a.Ping(b.addr, lab.PingOptions{Count: 2, Timeout: waitLimit / 150}); r.Received != 0 {
				t.Errorf("%d of %d pings answered", r.Received, r.Sent)
			}
			for _, v := range []*vtep{a, b} {
				if v.kind == user {
					check(t, v.counts("unknown_vni"))
				}
				if f := v.figures(t); f.rxPackets != 0 {
					t.Errorf("%s received %d packets", v.Name, f.rxPackets)
				}
			}
			checkNoICMP(t, capture)
		})
	}
}

// counts waits until a reason has been counted at all.
func (v *vtep) counts(reason string) error {
	return lab.Eventually(waitLimit, func() error {
		if drops := v.weft.stats(v.link).Drops; drops[reason] == 0 {
			return fmt.Errorf("nothing counted under %s: %v", reason, drops)
		}
		return nil
	})
}

// TestWrongPort has ends that do not agree on the port: a datagram finds
// nobody, and is answered by ICMP that the port is unreachable.
func TestWrongPort(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(p.String()+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, p, u, func(_, b *spec) { b.Port = 8472 })
				capture := lab.TestCapture(t, b.Host, "eth0")
				if r := a.Ping(b.addr, lab.PingOptions{Timeout: waitLimit / 150}); r.Received != 0 {
					t.Error("the ping was answered")
				}
				_, err := capture.Wait(waitLimit, func(f lab.Frame) bool { return f.Outgoing && isPortUnreachable(f) })
				check(t, err)
			})
		}
	}
}

// isPortUnreachable finds the ICMP error of either family.
func isPortUnreachable(f lab.Frame) bool {
	p := dissect.Packet(f)
	if icmp, _ := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); icmp != nil {
		return icmp.TypeCode == layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort)
	}
	icmp, _ := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	return icmp != nil && icmp.TypeCode == layers.CreateICMPv6TypeCode(layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodePortUnreachable)
}
