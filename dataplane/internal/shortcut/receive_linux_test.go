//go:build !portable

package shortcut

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
)

// TestReceiveDropped has packets come from a known station while its socket's queue has
// earlier ones: datagrams are dropped and counted while that is being emptied; otherwise
// they are left, as TCP segments are, or received once there is nothing to wait for.
func TestReceiveDropped(t *testing.T) {
	in(t, func(h *lab.Host) error {
		check(t, addDummy(h, underIndex))
		check(t, h.SetUp("under0"))
		check(t, h.SetUp("under1"))
		under, err := h.Device("under0")
		check(t, err)
		tab, err := Open(untold)
		check(t, err)
		defer tab.Close()
		check(t, tab.ReceiveBy(underIndex))
		link, queue := tab.Slot(), tab.Slot()
		defer tab.Free(link)
		defer tab.Free(queue)
		r, now := rand.New(rand.NewPCG(17, 18)), func(d time.Duration) uint64 { return Now() + uint64(d) }
		left, dropped, received := Figures{}, Figures{RxDropped: 1}, Figures{RxPackets: 1}
		for _, c := range []struct {
			name              string
			drained, until    uint64
			datagram, segment Figures
		}{
			{"before", 0, 0, left, left},
			{"emptied", 0, now(time.Hour), dropped, left},
			{"emptied until just now", 0, now(0), left, left},
			{"emptied, and drained", now(2 * time.Hour), now(time.Hour), received, received},
		} {
			for tcp, want := range map[bool]Figures{false: c.datagram, true: c.segment} {
				f := randomFlow(r)
				f.tcp, f.from, f.to, f.outer4 = tcp, randomAddr(r, true), randomAddr(r, true), true
				g, ok := tab.Receive(&Receive{From: f.from, To: f.to, Port: 4789, VNI: f.vni, Source: f.srcMAC, Under: underIndex, Device: underIndex, Link: link, Version: link.Changes().Load(), Queue: queue})
				if !ok {
					t.Fatal("the station is not told of")
				}
				outlast(g)
				queue.Drained(c.drained)
				queue.Empty(c.until)
				before, queued := tab.Figures(link), queue.Left()
				check(t, h.SendFrame("under1", f.datagram(t, under.MAC)))
				check(t, lab.Eventually(waitLimit, func() error {
					got := tab.Figures(link)
					got = Figures{RxPackets: got.RxPackets - before.RxPackets, RxDropped: got.RxDropped - before.RxDropped}
					if n := queue.Left() - queued; got != want || n+got.RxPackets+got.RxDropped != 1 {
						return fmt.Errorf("%s, TCP %v: %+v, and %d left; want %+v", c.name, tcp, got, n, want)
					}
					return nil
				}))
				queue.Empty(0)
			}
		}
		return nil
	})
}

// datagram is one with a frame of the flow, for the host that has that MAC.
func (f *flow) datagram(t *testing.T, to []byte) []byte {
	t.Helper()
	ip := network4(f.from, f.to, f.outerTOS, f.outerTTL)
	udp := &layers.UDP{SrcPort: layers.UDPPort(f.outerPort), DstPort: 4789}
	check(t, udp.SetNetworkLayerForChecksum(ip))
	return serialize(t, &layers.Ethernet{SrcMAC: f.srcMAC[:], DstMAC: to, EthernetType: layers.EthernetTypeIPv4}, ip, udp,
		&layers.VXLAN{ValidIDFlag: true, VNI: f.vni}, gopacket.Payload(f.frame(t, 0, make([]byte, 40))))
}
