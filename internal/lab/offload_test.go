//go:build linux

package lab_test

import (
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestOffloads looks at what crosses the wire during a TCP transfer through
// the kernel's vxlan: super-frames and unfinished checksums, or neither.
func TestOffloads(t *testing.T) {
	for _, c := range []struct {
		name             string
		preset           lab.Offloads
		whole, unchecked bool // super-frames; unfinished checksums
	}{
		{"on", lab.OffloadsOn(), true, true},
		{"wire-like", lab.WireLike(), false, true},
		{"off", lab.OffloadsOff(), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := kernelLink(t, underlays[0])
			for _, h := range []*lab.Host{a, b} {
				check(t, h.SetOffloads("eth0", c.preset))
			}
			got, err := a.Offloads("eth0")
			check(t, err)
			for name, want := range c.preset {
				if got[name] != want {
					t.Errorf("%s is %v, want %v", name, got[name], want)
				}
			}
			capture := lab.TestCapture(t, a, "eth0")
			_, err = lab.Transfer(a, b, anyPort(innerB4), 1<<20)
			check(t, err)
			largest, unchecked := outgoing(capture.Stop())
			if (largest > 1514) != c.whole {
				t.Errorf("largest frame has %d bytes", largest)
			}
			if (unchecked > 0) != c.unchecked {
				t.Errorf("%d frames with unfinished checksums", unchecked)
			}
		})
	}
}

// outgoing is the length of the largest VXLAN datagram sent, and how many had
// a wrong checksum, outer or inner.
func outgoing(frames []lab.Frame) (largest, unchecked int) {
	for _, e := range dissect.VXLANs(frames, 4789) {
		if !e.Frame.Outgoing {
			continue
		}
		largest = max(largest, e.Frame.Length)
		if dissect.VerifyChecksums(e.Outer) != nil || dissect.VerifyChecksums(e.Inner) != nil {
			unchecked++
		}
	}
	return largest, unchecked
}

func TestOffloadsThatDoNotFollow(t *testing.T) {
	h := lab.TestHost(t, "a")
	if err := h.SetOffloads("lo", lab.Offloads{"loopback": false}); err == nil {
		t.Error("a fixed feature was switched off")
	}
	if err := h.SetOffloads("lo", lab.Offloads{"no-such-feature": true}); err == nil {
		t.Error("an unknown feature was switched on")
	}
	if err := h.SetOffloads("none", lab.Offloads{"rx-gro": true}); err == nil {
		t.Error("a device that is not there was changed")
	}
}
