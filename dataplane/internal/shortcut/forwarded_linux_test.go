//go:build !portable

package shortcut

import (
	"math/rand/v2"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// bridged puts the path's device on a bridge of the host that it is in, beside the
// wire of a container, which is returned.
func (p *path) bridged(t *testing.T, h *lab.Host) *lab.Host {
	t.Helper()
	c := lab.TestHost(t, "c-"+h.Name)
	check(t, c.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
	check(t, lab.Connect(lab.Port{Host: h, Dev: "port0"}, lab.Port{Host: c}))
	check(t, h.AddBridge("br0"))
	check(t, h.SetMaster("br0", "port0", "tap0"))
	check(t, h.SetUp("tap0"))
	return c
}

// TestSendForwarded has a container send through the device, by a bridge: its
// frames belong to a socket of another namespace, and go past the process all the
// same. So they do not once the device was moved away, whatever was told.
func TestSendForwarded(t *testing.T) {
	p, r := newPath(t), rand.New(rand.NewPCG(15, 16))
	f := randomFlow(r)
	f.outer4 = true
	f.from, f.to = randomAddr(r, true), randomAddr(r, true)
	frame := f.frame(t, 0, make([]byte, 40))
	c := p.bridged(t, p.a)
	p.tell(t, f)
	check(t, c.SendFrame("eth0", frame))
	if _, err := p.wire.Wait(waitLimit, func(l lab.Frame) bool {
		e, ok := dissect.DecodeVXLAN(l, 4789)
		return ok && string(e.Inner.Data()) == string(frame)
	}); err != nil {
		t.Fatal(err)
	}

	away := lab.TestHost(t, "away")
	check(t, away.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
	check(t, p.a.SetNoMaster("tap0"))
	check(t, p.a.Move("tap0", away))
	c = p.bridged(t, away)
	d, err := away.Device("tap0")
	check(t, err)
	p.device = d.Index
	p.tell(t, f)
	seen := len(p.left.Frames())
	check(t, c.SendFrame("eth0", frame))
	if !p.came(t, seen, frame) {
		t.Error("it was not left to the process")
	}
	if n := len(dissect.VXLANs(p.wire.Frames(), 4789)); n != 1 {
		t.Errorf("%d datagrams, want one", n)
	}
}
