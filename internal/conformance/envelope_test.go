package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// The cases of vxlan_bridge_1d.sh about the outer headers.

// envelope is what the router and the site see of a packet from outside.
type envelope struct{ ttl, tos uint8 }

// pinged pings pod1 from h1 ten times, and tells the envelopes in which the
// requests arrived at its site.
func (s *sites) pinged(t *testing.T, g *segment, v6 bool, o lab.PingOptions) []envelope {
	t.Helper()
	o.Count = 10
	to := g.net.address(v6, 3)
	wire := lab.TestCapture(t, s.far[0], "eth0")
	check(t, g.h1.Ping(to, o).Lost())
	var seen []envelope
	for _, e := range dissect.VXLANs(wire.Stop(), s.port) {
		request := isRequest(e.Inner) && slices.Equal(e.Inner.NetworkLayer().NetworkFlow().Dst().Raw(), to.AsSlice())
		if !request || e.Frame.Outgoing {
			continue
		}
		if e.IPv6 != nil {
			seen = append(seen, envelope{e.IPv6.HopLimit, e.IPv6.TrafficClass})
		} else {
			seen = append(seen, envelope{e.IPv4.TTL, e.IPv4.TOS})
		}
	}
	return seen
}

// wantEnvelopes wants ten pings to have arrived in that one.
func (s *sites) wantEnvelopes(t *testing.T, g *segment, tos, outer uint8) {
	t.Helper()
	for _, v6 := range []bool{false, true} {
		want := slices.Repeat([]envelope{{99, outer}}, 10) // 100, and one hop
		if got := s.pinged(t, g, v6, lab.PingOptions{TOS: tos}); !slices.Equal(got, want) {
			t.Errorf("pings with TOS %#02x, IPv6 %v: arrived in %v, want ten times %v", tos, v6, got, want[0])
		}
	}
}

// test_ttl: the link's TTL of 100 is 99 behind the router.
func TestVXLANBridge1DTTL(t *testing.T) {
	onBridge1d(t, variants[:2], func(t *testing.T, s *sites, g *segment) { s.wantEnvelopes(t, g, 0, 0) })
}

// test_tos: with `tos inherit` the inner DSCP is outside, that and no other.
func TestVXLANBridge1DTOS(t *testing.T) {
	onBridge1d(t, variants[:2], func(t *testing.T, s *sites, g *segment) {
		s.wantEnvelopes(t, g, 0x14, 0x14)
		s.wantEnvelopes(t, g, 0x18, 0x18)
	})
}

// test_ecn_encap: the inner ECN field is outside, but CE is shown as ECT(0).
func TestVXLANBridge1DECNEncap(t *testing.T) {
	onBridge1d(t, variants[:2], func(t *testing.T, s *sites, g *segment) {
		for ecn, outer := range []uint8{0, 1, 2, 2} {
			s.wantEnvelopes(t, g, uint8(ecn), outer)
		}
	})
}

// ecnTable is RFC 6040 §4.2 as the script has it: the inner ECN field behind
// the link, by its own [row] and the outer one [column] before.
var ecnTable = [4][4]uint8{{0, 0, 0, refused}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}}

// refused is in the table for what does not come out.
const refused = 0xff

// test_ecn_decap, test_ecn_decap_error: h1 gets ten packets as the table says,
// and the ten that must not come count as receive errors.
func TestVXLANBridge1DECNDecap(t *testing.T) {
	onBridge1d(t, variants[:2], func(t *testing.T, s *sites, g *segment) {
		arrived := newTally(t, g.h1, "eth0")
		v6 := s.underlay.sw.Addr().Is6()
		before := g.link.figures(t).rxErrors
		for inner := range ecnTable {
			for outer := range ecnTable {
				id := uint16(1 + 4*inner + outer)
				s.forge(t, g, &echo{
					srcMAC: macOf(t, g.pods[0], "eth0"), dstMAC: macOf(t, g.h1, "eth0"),
					src: g.net.address(v6, 3), dst: g.net.address(v6, 1), tos: uint8(inner), id: id,
				}, lab.DatagramOptions{TOS: uint8(outer)})
				if want := ecnTable[inner][outer]; want != refused {
					t.Run(fmt.Sprintf("%02b in %02b", inner, outer), func(t *testing.T) {
						arrived.await(t, 10, isEcho(id, want))
						arrived.await(t, 10, isEcho(id)) // and none with another field
					})
				}
			}
		}
		t.Run("00 in 11", func(t *testing.T) {
			g.link.awaitFigure(t, "rx_errors", func(f figures) uint64 { return f.rxErrors }, before+10)
			s.fences.pass(t, g.pods[0], "eth0", arrived)
			arrived.await(t, 0, isEcho(4))
		})
	})
}

// forge sends a request ten times from site1 to the switch, in datagrams of
// its own making.
func (s *sites) forge(t *testing.T, g *segment, e *echo, o lab.DatagramOptions) {
	t.Helper()
	payload := vxlan(g.net.vni, e.frame(t))
	for range 10 {
		s.sendOuter(t, payload, o)
	}
}

// sendOuter sends one datagram from site1 to the switch.
func (s *sites) sendOuter(t *testing.T, payload []byte, o lab.DatagramOptions) {
	t.Helper()
	src := netip.AddrPortFrom(s.underlay.far[0].Addr(), 23456)
	dst := netip.AddrPortFrom(s.underlay.sw.Addr(), s.port)
	check(t, s.far[0].SendUDP(src, dst, payload, o))
}
