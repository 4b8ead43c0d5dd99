package interop

import (
	"fmt"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// innerKind is a kind of frame as TTL, TOS and DF are inherited from it.
type innerKind struct {
	name  string
	frame func(t *testing.T, ecn uint8, mark int) []byte
	ip    bool // so it has an ECN field
}

// The DSCPs of inner packets, and their TTLs from this on, each its own.
const (
	dscp4   = 0xb8
	dscp6   = 0x48
	baseTTL = 33
)

var innerKinds = []innerKind{
	{"IPv4", func(t *testing.T, ecn uint8, mark int) []byte {
		return inner{tos: dscp4 | ecn, ttl: baseTTL}.frame(t, mark)
	}, true},
	{"IPv4 with DF", func(t *testing.T, ecn uint8, mark int) []byte {
		return inner{tos: dscp4 | ecn, ttl: baseTTL + 1, df: true}.frame(t, mark)
	}, true},
	{"IPv6", func(t *testing.T, ecn uint8, mark int) []byte {
		return inner{tos: dscp6 | ecn, ttl: baseTTL + 2, v6: true}.frame(t, mark)
	}, true},
	{"IPv4 with DF behind a VLAN tag", func(t *testing.T, ecn uint8, mark int) []byte {
		return tagged(inner{tos: dscp4 | ecn, ttl: baseTTL + 3, df: true}.frame(t, mark), typeVLAN, 42)
	}, true},
	{"IPv6 behind a VLAN tag", func(t *testing.T, ecn uint8, mark int) []byte {
		return tagged(inner{tos: dscp6 | ecn, ttl: baseTTL + 4, v6: true}.frame(t, mark), typeVLAN, 42)
	}, true},
	{"no IP", func(_ *testing.T, ecn uint8, mark int) []byte {
		return ether(mark, typeLocal, []byte{0x45, dscp4 | ecn, 0, 30, 0, 0, 0x40, 0, 77})
	}, false},
}

// outerTable says what is around each of innerKinds, in their order, for a
// link made with certain words.
var outerTable = []struct {
	name string
	set  func(s *spec)
	ttl  [6]uint8
	dscp [6]uint8
	df   [6]bool // over IPv4
}{
	{
		"no words", func(*spec) {},
		[6]uint8{64, 64, 64, 64, 64, 64}, [6]uint8{}, [6]bool{},
	},
	{
		"ttl 100 tos 0x14 df set", func(s *spec) { s.TTL, s.TOS, s.DF = 100, 0x14, lab.DFSet },
		[6]uint8{100, 100, 100, 100, 100, 100},
		[6]uint8{0x14, 0x14, 0x14, 0x14, 0x14, 0x14},
		[6]bool{true, true, true, true, true, true},
	},
	{
		"ttl 255 tos 0xff", func(s *spec) { s.TTL, s.TOS = 255, 0xff }, // ECN bits of tos are nobody's
		[6]uint8{255, 255, 255, 255, 255, 255},
		[6]uint8{0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc},
		[6]bool{},
	},
	{
		"ttl inherit tos inherit df inherit", func(s *spec) { s.TTLInherit, s.TOS, s.DF = true, 1, lab.DFInherit },
		[6]uint8{33, 34, 35, 36, 37, 64},
		[6]uint8{dscp4, dscp4, dscp6, dscp4, dscp6, 0},
		[6]bool{false, true, true, false, false, false}, // not looked up behind a tag
	},
}

// outerECN is what is outside of an inner ECN field: CE is shown as ECT(0).
var outerECN = [4]uint8{0, 1, 2, 2}

// TestTTLAndTOSAndDF sends each kind of frame with each ECN field through a
// link with each set of words, and holds weft's link and the kernel's device
// against the same table.
func TestTTLAndTOSAndDF(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			for _, c := range outerTable {
				t.Run(fmt.Sprintf("%s/%s/%s", k, u.name, c.name), func(t *testing.T) {
					t.Parallel()
					a := newAlone(t, k, u, func(_ *lab.Host, s *spec) { c.set(s) })
					var frames [][]byte
					for i, in := range innerKinds {
						for ecn := range outerECN {
							frames = append(frames, in.frame(t, uint8(ecn), 4*i+ecn))
						}
					}
					a.send(t, frames...)
					for n, e := range a.sent(t, frames...) {
						i, ecn := n/4, n%4
						want := outerIP{ttl: c.ttl[i], tos: c.dscp[i], df: c.df[i] && u == underlay4}
						if innerKinds[i].ip {
							want.tos |= outerECN[ecn]
						}
						if got := outerIPOf(e); got != want {
							t.Errorf("around %s with ECN %02b: %+v, want %+v", innerKinds[i].name, ecn, got, want)
						}
					}
				})
			}
		}
	}
}

// outerIP is what the table is about.
type outerIP struct {
	ttl, tos uint8
	df       bool
}

func outerIPOf(e *dissect.Encapsulated) outerIP {
	if e.IPv6 != nil {
		return outerIP{ttl: e.IPv6.HopLimit, tos: e.IPv6.TrafficClass}
	}
	return outerIP{ttl: e.IPv4.TTL, tos: e.IPv4.TOS, df: e.IPv4.Flags&layers.IPv4DontFragment != 0}
}

// TestFlowLabel has the outer flow label as the link says, whatever the inner
// one is.
func TestFlowLabel(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, label := range []uint32{0, 1, 0x12345, 0xfffff} {
			t.Run(fmt.Sprintf("%s/%#x", k, label), func(t *testing.T) {
				t.Parallel()
				a := newAlone(t, k, underlay6, func(_ *lab.Host, s *spec) { s.FlowLabel = label })
				frames := flows(t, 8, true)
				for i := range frames {
					copy(frames[i][15:], []byte{0x0c, 0xba, 0x98}) // the inner label is its own
				}
				a.send(t, frames...)
				for _, e := range a.sent(t, frames...) {
					if e.IPv6.FlowLabel != label {
						t.Errorf("flow label %#x, want %#x", e.IPv6.FlowLabel, label)
					}
				}
			})
		}
	}
}
