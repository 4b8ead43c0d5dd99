package interop

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// unsent is a link that does not send some frames.
type unsent struct {
	name   string
	set    func(t *testing.T, h *lab.Host, s *spec)
	frames [][]byte
	drop
}

// Where no route leads to, and what is nobody's address.
var (
	nowhere4, nobody4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.211.55.99")
	nowhere6          = netip.MustParseAddr("2001:db8::1")
)

func unsentCases(t *testing.T, u underlay) []unsent {
	nowhere := nowhere4
	if u == underlay6 {
		nowhere = nowhere6
	}
	some := flows(t, 10, false)
	carrier := []string{"tx_errors", "tx_carrier_errors"}
	cases := []unsent{
		{"no remote", func(_ *testing.T, _ *lab.Host, s *spec) { s.Remote = netip.Addr{} }, some, drop{"fdb_miss", []string{"tx_dropped"}}},
		{"shorter than IPv4", nil, prefixes(ether(1, typeIPv4, inner{}.packet(t)), 14, 14+20), drop{"bad_length", []string{"tx_dropped"}}},
		{"shorter than IPv6", nil, prefixes(ether(1, typeIPv6, inner{v6: true}.packet(t)), 14, 14+40), drop{"bad_length", []string{"tx_dropped"}}},
		{"no route", func(_ *testing.T, _ *lab.Host, s *spec) {
			s.Remote, s.Local, s.Dev = nowhere, netip.Addr{}, ""
		}, some, drop{"no_route", carrier}},
		{"unreachable", refusedBy(unix.RTN_UNREACHABLE, nowhere), some, drop{"no_route", carrier}},
		{"prohibited", refusedBy(unix.RTN_PROHIBIT, nowhere), some, drop{"send_error", carrier}},
		{"black hole", refusedBy(unix.RTN_BLACKHOLE, nowhere), some, drop{"send_error", carrier}},
	}
	large := [][]byte{inner{size: 1500}.frame(t, 1), inner{size: 2900, df: true}.frame(t, 2), ether(3, typeLocal, make([]byte, 2000))}
	if u == underlay6 {
		// Over IPv6 both send from an address that is nobody's.
		return append(cases, unsent{"larger than the path carries", func(_ *testing.T, _ *lab.Host, s *spec) {
			s.Dev, s.MTU = "", 3000
		}, large, drop{"too_big", []string{"tx_errors", "tx_aborted_errors"}}})
	}
	// The routing table refuses the source as it refuses an unknown destination.
	local := func(_ *testing.T, _ *lab.Host, s *spec) { s.Local = nobody4 }
	cases = append(cases, unsent{"local that is nobody's", local, some, drop{"no_route", carrier}})
	return append(cases, unsent{"larger than the path carries, df set", func(_ *testing.T, _ *lab.Host, s *spec) {
		s.Dev, s.MTU, s.DF = "", 3000, lab.DFSet
	}, large, drop{"too_big", []string{"tx_dropped"}}})
}

// refusedBy has a route refuse the remote.
func refusedBy(kind int, remote netip.Addr) func(*testing.T, *lab.Host, *spec) {
	return func(t *testing.T, h *lab.Host, s *spec) {
		s.Remote, s.Local, s.Dev = remote, netip.Addr{}, ""
		check(t, h.Netlink().RouteAdd(&netlink.Route{Dst: netlink.NewIPNet(remote.AsSlice()), Type: kind}))
	}
}

// TestUnsentFrames sends frames that cannot be sent. None of them is on the
// wire or counts as sent, each counts once.
func TestUnsentFrames(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			for _, c := range unsentCases(t, u) {
				t.Run(fmt.Sprintf("%s/%s/%s", k, u.name, c.name), func(t *testing.T) {
					t.Parallel()
					a := newAlone(t, k, u, func(h *lab.Host, s *spec) {
						if c.set != nil {
							c.set(t, h, s)
						}
					})
					before := a.figures(t)
					a.send(t, c.frames...)
					a.dropped(t, before, c.drop, len(c.frames))
					if now := a.figures(t); now.txPackets != before.txPackets || now.txBytes != before.txBytes {
						t.Errorf("%d packets, %d bytes count as sent", now.txPackets-before.txPackets, now.txBytes-before.txBytes)
					}
					for _, f := range a.wire.Stop() {
						if p := dissect.Packet(f); p.Layer(layers.LayerTypeARP) == nil && p.Layer(layers.LayerTypeICMPv6) == nil {
							t.Errorf("on the wire: %v", p) // a fragment would be here too
						}
					}
				})
			}
		}
	}
}

// TestUnsentAmongSent has frames that are too large between others, which
// leave all the same, in order.
func TestUnsentAmongSent(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(string(k)+"/"+u.name, func(t *testing.T) {
				a := newAlone(t, k, u, func(_ *lab.Host, s *spec) { s.Dev, s.MTU, s.DF = "", 3000, lab.DFSet })
				before := a.figures(t)
				var all, small [][]byte
				for i := range 40 {
					f := ether(i, typeLocal, make([]byte, 1400))
					small = append(small, f)
					all = append(all, f, ether(i, typeLocal, make([]byte, 1500)))
				}
				a.send(t, all...)
				a.sent(t, small...)
				want := drop{"too_big", []string{"tx_dropped"}}
				if u == underlay6 {
					want.kernel = []string{"tx_errors", "tx_aborted_errors"}
				}
				a.dropped(t, before, want, len(small))
				seen := dissect.VXLANs(a.wire.Stop(), a.port)
				if len(seen) != len(small) {
					t.Fatalf("%d datagrams on the wire, want %d", len(seen), len(small))
				}
				for i, e := range seen {
					if got := string(e.Inner.Data()); got != string(small[i]) {
						t.Errorf("datagram %d is not frame %d", i, i)
					}
				}
			})
		}
	}
}
