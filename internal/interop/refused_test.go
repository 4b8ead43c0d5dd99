package interop

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// refusedDatagrams are those that a link drops, and where they count.
type refusedDatagrams struct {
	name string
	drop
	tos      uint8
	payloads [][]byte
}

// Counters of the kernel's device for what it drops with a cause of its own.
var (
	frameErrors  = []string{"rx_errors", "rx_frame_errors"}
	lengthErrors = []string{"rx_errors", "rx_length_errors"}
)

// refusals are all the ways to be dropped that have nothing to do with
// learning, in the order in which the kernel looks for them. own is the link's
// MAC address, of which it takes no frame.
func refusals(t *testing.T, own []byte) []refusedDatagrams {
	good := vxlan(5, inner{size: 50}.frame(t, 1))
	notECT := [][]byte{vxlan(5, inner{size: 50}.frame(t, 1)), vxlan(5, inner{size: 50, v6: true}.frame(t, 1))}
	return []refusedDatagrams{
		{"shorter than the header", drop{"short_header", nil}, 0, prefixes(good, 0, 8)},
		{"I flag clear", drop{"no_vni_flag", nil}, 0, [][]byte{bit(good, 4), make([]byte, 8), make([]byte, 60)}},
		{"other VNIs", drop{"unknown_vni", nil}, 0, otherVNIs(good[8:])},
		{"reserved bits", drop{"reserved_bits", frameErrors}, 0, reservedBits(good)},
		{"shorter than Ethernet", drop{"short_frame", nil}, 0, prefixes(good, 8, 8+14)},
		{"own MAC address", drop{"own_source", nil}, 0, [][]byte{
			vxlan(5, readdressed(good[8:], nil, own)), vxlan(5, readdressed(ether(1, typeLocal, nil), own, own)),
		}},
		{"shorter than IPv4", drop{"bad_length", lengthErrors}, 0, prefixes(vxlan(5, ether(1, typeIPv4, inner{}.packet(t))), 22, 22+20)},
		{"shorter than IPv6", drop{"bad_length", lengthErrors}, 0, prefixes(vxlan(5, ether(1, typeIPv6, inner{v6: true}.packet(t))), 22, 22+40)},
		{"CE around Not-ECT", drop{"ecn", frameErrors}, 0x03, notECT},
		{"CE and a DSCP around Not-ECT", drop{"ecn", frameErrors}, 0xbb, notECT},
	}
}

// prefixes are the first bytes of a payload, from so many up to without to.
func prefixes(payload []byte, from, to int) (all [][]byte) {
	for n := from; n < to; n++ {
		all = append(all, slices.Clone(payload[:n]))
	}
	return all
}

// bit is a payload with one bit turned over, counted from the left.
func bit(payload []byte, n int) []byte {
	payload = slices.Clone(payload)
	payload[n/8] ^= 0x80 >> (n % 8)
	return payload
}

// reservedBits turns over, one by one, the 39 bits of the header that are
// neither the I flag nor the VNI.
func reservedBits(payload []byte) (all [][]byte) {
	for n := range 64 {
		if n != 4 && (n < 32 || n >= 56) {
			all = append(all, bit(payload, n))
		}
	}
	return all
}

func otherVNIs(frame []byte) (all [][]byte) {
	for _, vni := range []uint32{0, 4, 6, 5 << 8, 1<<24 - 1} {
		all = append(all, vxlan(vni, frame))
	}
	return append(all, vxlan(6, nil), vxlan(6, frame[:5]))
}

// TestRefusedDatagrams forges datagrams that are dropped, each for one reason.
// None comes out, none is answered by ICMP, and in the end every datagram has
// been counted once.
func TestRefusedDatagrams(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(string(k)+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a := newAlone(t, k, u, nil)
				d, err := a.Device(a.link)
				check(t, err)
				start, sent := a.figures(t), 0
				for _, c := range refusals(t, d.MAC) {
					before := a.figures(t)
					for _, p := range c.payloads {
						a.forge(t, p, lab.DatagramOptions{TOS: c.tos})
					}
					sent += len(c.payloads)
					t.Run(c.name, func(t *testing.T) { a.dropped(t, before, c.drop, len(c.payloads)) })
				}
				a.fence(t)
				if n := len(a.inside.Frames()); n != 1 {
					t.Errorf("%d frames came out, want the fence alone", n)
				}
				a.received(t, start, 1)
				if n := a.figures(t).lost(start); k == user && n != uint64(sent) {
					t.Errorf("%d count as dropped of %d", n, sent)
				}
				checkNoICMP(t, a.wire)
			})
		}
	}
}

// checkNoICMP wants no ICMP error on a wire.
func checkNoICMP(t *testing.T, c *lab.Capture) {
	t.Helper()
	for _, f := range c.Frames() {
		p := dissect.Packet(f)
		if icmp, _ := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); isICMPError(p) || icmp != nil && icmp.TypeCode.Type() < 128 {
			t.Errorf("an ICMP error: %v", p)
		}
	}
}

// TestReservedBitsAreAll39 makes sure of the table above.
func TestReservedBitsAreAll39(t *testing.T) {
	t.Parallel()
	all := reservedBits(make([]byte, 8))
	var sum uint64
	for _, p := range all {
		sum |= binary.BigEndian.Uint64(p)
	}
	if want := uint64(0xf7ffffff000000ff); len(all) != 39 || sum != want {
		t.Errorf("%d bits, together %#x, want 39, %#x", len(all), sum, want)
	}
}

// TestDeviceDown forges datagrams to a link that is down. weft goes on holding
// the port and counts them; the kernel, which closes it, does not.
func TestDeviceDown(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			a := newAlone(t, k, underlay4, nil)
			before := a.figures(t)
			check(t, a.SetDown(a.link))
			const n = 10
			for i := range n {
				a.forge(t, vxlan(5, inner{size: 50}.frame(t, i)), lab.DatagramOptions{})
			}
			a.dropped(t, before, drop{reason: "device_down"}, n)
			check(t, a.SetUp(a.link))
			a.fence(t)
			a.received(t, before, 1)
		})
	}
}

// reasons are those of the contract.
var reasons = []string{
	"short_header", "no_vni_flag", "unknown_vni", "reserved_bits", "short_frame", "own_source", "invalid_source",
	"pinned_source", "source_not_allowed", "bad_length", "checksum", "ecn", "vlan", "no_route", "fdb_miss",
	"too_big", "ttl", "send_error", "device_full", "device_down", "socket_full",
}

// TestEveryReasonIsShown looks at a link that has done nothing yet.
func TestEveryReasonIsShown(t *testing.T) {
	t.Parallel()
	a := newAlone(t, user, underlay4, nil)
	drops := a.figures(t).weft.Drops
	for _, r := range reasons {
		if n, ok := drops[r]; !ok || n != 0 {
			t.Errorf("%s: %d, shown %v; want 0", r, n, ok)
		}
	}
	if len(drops) < len(reasons) {
		t.Error(fmt.Sprint(drops))
	}
}
