package interop

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestCountersOfBothEnds exchanges pings, and wants each end to have received
// what the other has sent, in packets and in bytes. Where an end is the
// kernel's device, that is the measure.
func TestCountersOfBothEnds(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(p.String()+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a, b := connectQuiet(t, p, u)
				check(t, a.Ping(b.addr, lab.PingOptions{Count: 7, Size: 1300}).Lost())
				check(t, b.Ping(a.addr, lab.PingOptions{Count: 5}).Lost())
				var fa, fb figures
				err := lab.Eventually(waitLimit, func() error {
					fa, fb = a.figures(t), b.figures(t)
					return sameFigures(fa, fb)
				})
				check(t, err)
				const echoes, bytes = 7 + 5, 7*(1300+28) + 5*28 // and ARP once or twice
				if n := fa.txPackets - echoes; n < 1 || n > 3 || fa.txBytes != bytes+28*n {
					t.Errorf("a sent %d packets, %d bytes", fa.txPackets, fa.txBytes)
				}
			})
		}
	}
}

// connectQuiet is connect with IPv4 inside alone, so that nothing moves on the
// link by itself.
func connectQuiet(t *testing.T, p pairing, u underlay, words ...string) (a, b *vtep) {
	t.Helper()
	ha, hb := lab.TestPair(t)
	for _, h := range []*lab.Host{ha, hb} {
		check(t, h.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
	}
	end := func(h *lab.Host, k kind, local, remote netip.Addr, addr netip.Prefix) *vtep {
		v := lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Remote: remote, Local: local, Dev: "eth0"}
		return addVTEP(t, h, k, spec{VXLAN: v, Addrs: []netip.Prefix{addr}, Words: words})
	}
	return end(ha, p.a, u.a, u.b, innerA[0]), end(hb, p.b, u.b, u.a, innerB[0])
}

// sameFigures says which way the figures of two ends differ.
func sameFigures(a, b figures) error {
	if a.txPackets != b.rxPackets || a.txBytes != b.rxBytes {
		return fmt.Errorf("a sent %d packets, %d bytes; b received %d, %d", a.txPackets, a.txBytes, b.rxPackets, b.rxBytes)
	}
	if b.txPackets != a.rxPackets || b.txBytes != a.rxBytes {
		return fmt.Errorf("b sent %d packets, %d bytes; a received %d, %d", b.txPackets, b.txBytes, a.rxPackets, a.rxBytes)
	}
	return nil
}

// TestCountersOfFrames sends and forges frames of known sizes: they count
// without their Ethernet header.
func TestCountersOfFrames(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(string(k)+"/"+u.name, func(t *testing.T) {
				a := newAlone(t, k, u, nil)
				frames := [][]byte{
					ether(1, typeLocal, make([]byte, 40)), ether(2, typeARP, make([]byte, 28)), ether(3, typeLocal, make([]byte, 1)),
					inner{size: 1000}.frame(t, 4), inner{size: 1300, v6: true, tcp: true}.frame(t, 5),
				}
				a.send(t, frames...)
				want := counted(frames)
				want.txPackets, want.txBytes = want.rxPackets, want.rxBytes
				// A tag received counts; one that the kernel sends does not.
				more := tagged(inner{size: 1000}.frame(t, 6), typeVLAN, 42)
				want.rxPackets, want.rxBytes = want.rxPackets+1, want.rxBytes+uint64(len(more)-14)
				for _, f := range append(frames, more) {
					a.forge(t, vxlan(5, f), lab.DatagramOptions{})
				}
				check(t, lab.Eventually(waitLimit, func() error {
					now := a.figures(t)
					if now.errors, now.weft = nil, want.weft; !reflect.DeepEqual(now, want) {
						return fmt.Errorf("counted %+v, want %+v", now, want)
					}
					return nil
				}))
			})
		}
	}
}

// counted is what frames count for that are received.
func counted(frames [][]byte) (f figures) {
	for _, frame := range frames {
		f.rxPackets++
		f.rxBytes += uint64(len(frame) - 14)
	}
	return f
}
