//go:build !portable

package dataplane

import (
	"net/netip"
	"testing"

	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/routetable"
)

// injecting is a path whose super-frames go past the sockets, to the other end
// of a wire.
func injecting(t *testing.T) *path {
	t.Helper()
	if lab.RunDir() == "" {
		t.Skip("needs a network of its own")
	}
	host, _ := lab.TestPair(t)
	var p *path
	err := host.Do(func() (err error) {
		p = newPath(t)
		p.port.routes, err = underlay.OpenRoutes()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.port.routes.Close)
	p.port.sender.DiscardInjected()
	p.fdb.Learn(routetable.MAC(macB), lab.PairB4.Addr(), 0, p.port.tick)
	return p
}

// TestInjected: a TCP super-frame goes whole where that comes to the same as
// its segments, and only there. Either way it counts once.
func TestInjected(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(p *path, f *outFrame)
		want bool
	}{
		"usual":          {func(*path, *outFrame) {}, true},
		"offload off":    {func(p *path, _ *outFrame) { p.change(func(s *settings) { s.flow.Single = true }) }, false},
		"no checksum":    {func(p *path, _ *outFrame) { p.change(func(s *settings) { s.flow.NoCsum = true }) }, true},
		"congestion":     {func(_ *path, f *outFrame) { f.Frame[14+20+13] |= 0x80 }, false},
		"group":          {func(p *path, _ *outFrame) { p.learn(netip.MustParseAddr("239.1.1.1")) }, false},
		"no route":       {func(p *path, _ *outFrame) { p.learn(netip.MustParseAddr("203.0.113.1")) }, false},
		"own":            {func(p *path, _ *outFrame) { p.learn(lab.PairA4.Addr()) }, false},
		"other local":    {func(p *path, _ *outFrame) { p.change(func(s *settings) { s.flow.Local = lab.PairB4.Addr() }) }, false},
		"MTU to spare":   {func(_ *path, f *outFrame) { f.GSO.Size = 1500 - 50 - 20 - 32 }, true},
		"no MTU to save": {func(_ *path, f *outFrame) { f.GSO.Size = 1500 - 50 - 20 - 32 + 1 }, false},
		"UDP":            {func(_ *path, f *outFrame) { *f = udpSuperFrame() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, f := injecting(t), superFrame(false)
			c.edit(p, &f)
			p.send([]outFrame{f})
			if got := p.port.sender.Injected.Load() == 1; got != c.want {
				t.Errorf("injected: %v, want %v", got, c.want)
			}
			if n := p.counters.txPackets.Load(); n != 1 {
				t.Errorf("counted as %d frames", n)
			}
		})
	}
}

// TestInjectingDoesNotAllocate: from the device's frame to what is written.
func TestInjectingDoesNotAllocate(t *testing.T) {
	p, batch := injecting(t), []outFrame{superFrame(false)}
	p.send(batch)
	wantNoAllocs(t, "injected", func() { p.send(batch) })
	if p.port.sender.Injected.Load() == 0 {
		t.Error("nothing was injected")
	}
}

func (p *path) change(edit func(*settings)) {
	s := *p.set.Load()
	edit(&s)
	p.set.Store(&s)
}

func (p *path) learn(remote netip.Addr) {
	p.fdb.Flush(routetable.Filter{})
	p.fdb.Learn(routetable.MAC(macB), remote, 0, p.port.tick)
}

// udpSuperFrame is one of UDP datagrams.
func udpSuperFrame() outFrame {
	d := appendDatagram(nil, frame(false, udp(0), make([]byte, 20*1000)))
	gso := encap.GSO{Type: encap.GSOUDP, Size: 1000, NeedsCsum: true, CsumStart: 34, CsumOffset: 6}
	return outFrame{encap.Packet{Frame: d[encap.HeaderLen:], GSO: gso}, d}
}
