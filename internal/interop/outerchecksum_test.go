package interop

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestNoOuterChecksum switches the outer checksum off at one end or both, and
// has the other end refuse that or not. Over IPv4 nobody refuses it.
func TestNoOuterChecksum(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, c := range []struct {
			name string
			underlay
			tx, rx bool // udp6zerocsumtx or noudpcsum at a, udp6zerocsumrx at b
			taken  bool
		}{
			{"noudpcsum", underlay4, true, false, true},
			{"udp6zerocsumtx", underlay6, true, false, false},
			{"udp6zerocsumtx and rx", underlay6, true, true, true},
			{"udp6zerocsumrx", underlay6, false, true, true},
		} {
			t.Run(p.String()+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, p, c.underlay, func(a, b *spec) {
					a.NoUDPCSum, a.UDP6ZeroCSumTx = c.tx && c.underlay == underlay4, c.tx && c.underlay == underlay6
					b.UDP6ZeroCSumRx = c.rx
				})
				plainWire(t, a.Host, b.Host)
				wire, link := lab.TestCapture(t, b.Host, "eth0"), lab.TestCapture(t, b.Host, b.link)
				before := b.figures(t)
				frame := inner{srcPort: 7, size: 100}.frame(t, 1)
				check(t, a.SendFrame(a.link, frame))
				f, err := wire.Wait(waitLimit, carries(frame))
				check(t, err)
				e, _ := dissect.DecodeVXLAN(f, 4789)
				if zero := e.UDP.Checksum == 0; zero != c.tx {
					t.Errorf("checksum %#x on the wire", e.UDP.Checksum)
				}
				check(t, dissect.VerifyChecksums(e.Outer))
				if c.taken {
					_, err := link.Wait(waitLimit, isFrame(frame))
					check(t, err)
					// Back, b's own words count, of which none says so.
					check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
					return
				}
				checkZeroRefused(t, b, before, link, frame)
			})
		}
	}
}

// checkZeroRefused wants at least one datagram counted: a's own chatter has no
// checksum either.
func checkZeroRefused(t *testing.T, b *vtep, before figures, link *lab.Capture, frame []byte) {
	t.Helper()
	if b.kind == user {
		check(t, lab.Eventually(waitLimit, func() error {
			if n := b.figures(t).weft.Drops["checksum"] - before.weft.Drops["checksum"]; n == 0 {
				return fmt.Errorf("nothing counted under checksum: %v", b.figures(t).weft.Drops)
			}
			return nil
		}))
	}
	for _, f := range link.Stop() {
		if bytes.Equal(f.Data, frame) {
			t.Error("it came out, want it refused")
		}
	}
}

// carries finds the datagram with a frame inside.
func carries(frame []byte) func(lab.Frame) bool {
	return func(f lab.Frame) bool {
		e, ok := dissect.DecodeVXLAN(f, 4789)
		return ok && bytes.Equal(e.Inner.Data(), frame)
	}
}

// TestForgedChecksum sends datagrams with a wrong outer checksum, and without
// any.
func TestForgedChecksum(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, c := range []struct {
			name string
			underlay
			lab.DatagramOptions
			rx    bool // udp6zerocsumrx
			taken bool
		}{
			{"IPv4 wrong", underlay4, lab.DatagramOptions{BadChecksum: true}, false, false},
			{"IPv4 none", underlay4, lab.DatagramOptions{NoChecksum: true}, false, true},
			{"IPv6 wrong", underlay6, lab.DatagramOptions{BadChecksum: true}, false, false},
			{"IPv6 none", underlay6, lab.DatagramOptions{NoChecksum: true}, false, false},
			{"IPv6 none, udp6zerocsumrx", underlay6, lab.DatagramOptions{NoChecksum: true}, true, true},
			{"IPv6 wrong, udp6zerocsumrx", underlay6, lab.DatagramOptions{BadChecksum: true}, true, false},
		} {
			t.Run(string(k)+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				a := newAlone(t, k, c.underlay, func(_ *lab.Host, s *spec) { s.UDP6ZeroCSumRx = c.rx })
				before := a.figures(t)
				const n = 10
				var frames [][]byte
				for i := range n {
					// The kernel refuses short ones earlier than long ones.
					frames = append(frames, inner{srcPort: 7, size: 20 * i}.frame(t, i))
					a.forge(t, vxlan(5, frames[i]), c.DatagramOptions)
				}
				if c.taken {
					for _, f := range frames {
						a.delivered(t, f)
					}
					return
				}
				a.dropped(t, before, drop{reason: "checksum"}, n)
				a.fence(t)
				a.received(t, before, 1)
			})
		}
	}
}
