package interop

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// refused stands in ecnTable for a frame that is dropped.
const refused = 0xff

// ecnTable is RFC 6040 §4.2 as the kernel reads it: the ECN field of the inner
// packet afterwards, by its own [row] and the outer one [column] before. Both
// count Not-ECT, ECT(1), ECT(0), CE.
var ecnTable = [4][4]uint8{
	{0, 0, 0, refused},
	{1, 1, 1, 3},
	{2, 1, 2, 3},
	{3, 3, 3, 3},
}

// TestECNDecapsulation forges a datagram for each cell of the table and looks
// at what comes out of the link: its ECN field is the table's, its DSCP is its
// own, its header checksum is right. What does not come out is counted.
func TestECNDecapsulation(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			for _, v6 := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/inner IPv6 %v", k, u.name, v6), func(t *testing.T) {
					t.Parallel()
					a := newAlone(t, k, u, nil)
					before := a.figures(t)
					a.forgeMarked(t, func(ecn uint8, mark int) []byte {
						return inner{v6: v6, tos: dscp6 | ecn, size: 9}.frame(t, mark)
					})
					for mark, f := range a.markedFrames(t) {
						ecn, outer := mark/4, mark%4
						switch want := ecnTable[ecn][outer]; {
						case want == refused:
							if f.Data != nil {
								t.Errorf("inner %02b, outer %02b: came out, want it dropped", ecn, outer)
							}
						case f.Data == nil:
							t.Errorf("inner %02b, outer %02b: dropped, want %02b", ecn, outer, want)
						default:
							checkECN(t, f, dscp6|want)
						}
					}
					a.dropped(t, before, drop{reason: "ecn", kernel: []string{"rx_errors", "rx_frame_errors"}}, 1)
				})
			}
		}
	}
}

// TestECNBehindTag does so with VLAN tags, behind which nobody looks.
func TestECNBehindTag(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			a := newAlone(t, k, underlay4, nil)
			frame := func(ecn uint8, mark int) []byte {
				return tagged(inner{tos: dscp6 | ecn, size: 9}.frame(t, mark), typeVLAN, 42)
			}
			a.forgeMarked(t, frame)
			for mark, f := range a.markedFrames(t) {
				if want := frame(uint8(mark/4), mark); !slices.Equal(f.Data, want) {
					t.Errorf("inner %02b, outer %02b: came out as % x, want % x", mark/4, mark%4, f.Data, want)
				}
			}
		})
	}
}

// forgeMarked forges 16 datagrams, one for each pair of ECN fields. Number 4i+o
// has the inner field i, and the outer one o beside some DSCP.
func (a *alone) forgeMarked(t *testing.T, frame func(ecn uint8, mark int) []byte) {
	t.Helper()
	for mark := range 16 {
		ecn, outer := uint8(mark/4), uint8(mark%4)
		a.forge(t, vxlan(5, frame(ecn, mark)), lab.DatagramOptions{TOS: 0x2c | outer})
	}
	a.fence(t)
}

// markedFrames are what came of them out of the link, by number; no Data for
// those that did not.
func (a *alone) markedFrames(t *testing.T) (found [16]lab.Frame) {
	t.Helper()
	for _, f := range a.inside.Frames() {
		for mark := range found {
			if slices.Equal(f.Data[6:12], markMAC(mark)) {
				found[mark] = f
			}
		}
	}
	return found
}

func checkECN(t *testing.T, f lab.Frame, want uint8) {
	t.Helper()
	p := dissect.Packet(f)
	if got, ok := innerTOS(p); !ok || got != want {
		t.Errorf("TOS %#x came out, want %#x", got, want)
	}
	if err := dissect.VerifyChecksums(p); err != nil {
		t.Errorf("with TOS %#x: %v", want, err)
	}
}

func innerTOS(p gopacket.Packet) (uint8, bool) {
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		return ip.TOS, true
	case *layers.IPv6:
		return ip.TrafficClass, true
	}
	return 0, false
}
