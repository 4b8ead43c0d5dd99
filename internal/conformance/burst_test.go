package conformance

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// burst sends ten echo requests from h1 and tells how many of them arrived at
// h2 and out of either far link, of this segment and of the others.
func (s *sites) burst(t *testing.T, g *segment, dst net.HardwareAddr, addr netip.Addr) map[string]int {
	t.Helper()
	return s.burstTo(t, g, dst, addr, g.tallies[:]...)
}

// burstTo does so where broadcasts of h1 arrive only at some places.
func (s *sites) burstTo(t *testing.T, g *segment, dst net.HardwareAddr, addr netip.Addr, reached ...*tally) map[string]int {
	t.Helper()
	s.bursts++
	frame := (&echo{
		srcMAC: macOf(t, g.h1, "eth0"), dstMAC: dst,
		src: g.net.address(addr.Is6(), 1), dst: addr, id: s.bursts,
	}).frame(t)
	check(t, g.h1.SendFrame("eth0", slices.Repeat([][]byte{frame}, 10)...))
	s.fences.pass(t, g.h1, "eth0", reached...)
	arrived := map[string]int{}
	for _, other := range s.segments {
		for _, c := range other.tallies {
			if n := c.count(isEcho(s.bursts)); n > 0 {
				arrived[c.name] = n
			}
		}
	}
	return arrived
}

// wantBurst sends a burst and says where how many of it have to arrive: at h2,
// out of the far link 1, out of the far link 2, and of other segments nowhere.
func (s *sites) wantBurst(t *testing.T, g *segment, dst net.HardwareAddr, addr netip.Addr, want ...int) {
	t.Helper()
	expected := map[string]int{}
	for i, n := range want {
		if n > 0 {
			expected[g.tallies[i].name] = n
		}
	}
	if got := s.burst(t, g, dst, addr); !maps.Equal(got, expected) {
		t.Errorf("10 frames to %v arrived as %v, want %v", dst, got, expected)
	}
}

// pingAll pings from h1 the segment's other hosts.
func (s *sites) pingAll(t *testing.T, g *segment) {
	t.Helper()
	for _, v6 := range []bool{false, true} {
		for host := 2; host <= 4; host++ {
			check(t, g.h1.Ping(g.net.address(v6, host), lab.PingOptions{Count: 3}).Lost())
		}
	}
}

// pin tells the switch's bridge by which port a MAC address is to be reached,
// that of a local host or ("") that of the link.
func (s *sites) pin(t *testing.T, g *segment, host string, m net.HardwareAddr) {
	t.Helper()
	check(t, s.sw.ChangeFDB(lab.FDBReplace, s.pinned(g, host, m)))
}

// unpin takes that back.
func (s *sites) unpin(t *testing.T, g *segment, host string, m net.HardwareAddr) {
	t.Helper()
	check(t, s.sw.ChangeFDB(lab.FDBDel, s.pinned(g, host, m)))
}

func (s *sites) pinned(g *segment, host string, m net.HardwareAddr) lab.FDBEntry {
	e := lab.FDBEntry{Dev: g.dev, MAC: m, State: lab.FDBStatic, Flags: unix.NTF_MASTER}
	if host != "" {
		e.Dev = g.port(host)
	}
	return e
}

// reapply takes the links out of their bridges and puts them back, in the
// meantime without remotes, and the underlay without its address.
func (s *sites) reapply(t *testing.T) {
	t.Helper()
	for _, g := range s.segments {
		s.unflood(t, g)
		check(t, s.sw.SetNoMaster(g.dev))
	}
	for _, p := range s.underlay.far {
		check(t, s.sw.DelRoute(p, "eth0", s.underlay.router[0].Addr()))
	}
	check(t, s.sw.DelAddr("eth0", s.underlay.sw))
	for _, g := range s.segments {
		check(t, s.sw.SetMaster(g.bridge, g.dev))
		s.flood(t, g)
	}
	check(t, s.sw.AddAddr("eth0", s.underlay.sw))
	s.routeSwitch(t)
}
