package interop

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// Source ports that 64 flows have to meet, and how many flows that is.
const (
	manyFlows = 64
	manyPorts = 24
)

// TestSourcePortsOfTraffic counts the outer source ports of what hosts really
// send: many for many flows, one for each flow.
func TestSourcePortsOfTraffic(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(p.String()+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, p, u, nil)
				capture := lab.TestCapture(t, b.Host, "eth0")
				to := innerB[0].Addr()
				sendFlows(t, a.Host, to, manyFlows)
				check(t, a.Ping(to, lab.PingOptions{Count: 20}).Lost())
				_, err := lab.Transfer(a.Host, b.Host, netip.AddrPortFrom(to, 0), 1<<20)
				check(t, err)
				seen := dissect.VXLANs(capture.Stop(), 4789)
				several := sourcePorts(seen, false, layers.LayerTypeUDP)
				if len(several) < manyPorts {
					t.Errorf("%d flows have %d source ports, want %d at least", manyFlows, len(several), manyPorts)
				}
				for _, flow := range []gopacket.LayerType{layers.LayerTypeICMPv4, layers.LayerTypeTCP} {
					for _, back := range []bool{false, true} {
						ports := sourcePorts(seen, back, flow)
						if len(ports) != 1 {
							t.Errorf("one flow of %v has source ports %v, want one", flow, ports)
						}
						several = append(several, ports...)
					}
				}
				checkRange(t, several, 32768, 60999)
			})
		}
	}
}

// sendFlows sends one datagram to each of n ports, from 1001 on.
func sendFlows(t *testing.T, from *lab.Host, to netip.Addr, n int) {
	t.Helper()
	var c net.PacketConn
	check(t, from.Do(func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(context.Background(), "udp4", ":0")
		return err
	}))
	defer func() { _ = c.Close() }()
	for i := range n {
		_, err := c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, uint16(1001+i))))
		check(t, err)
	}
}

// sourcePorts are the outer source ports of datagrams that went one way and
// have a layer inside; back is away from the capturing host.
func sourcePorts(seen []*dissect.Encapsulated, back bool, has gopacket.LayerType) []uint16 {
	ports := map[uint16]bool{}
	for _, e := range seen {
		if e.Frame.Outgoing == back && e.Inner.Layer(has) != nil && !isICMPError(e.Inner) {
			ports[uint16(e.UDP.SrcPort)] = true
		}
	}
	return slices.Sorted(maps.Keys(ports))
}

// isICMPError reports whether a packet says that a port is closed, as the
// answers to sendFlows do.
func isICMPError(p gopacket.Packet) bool {
	icmp, _ := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	return icmp != nil && icmp.TypeCode.Type() == layers.ICMPv4TypeDestinationUnreachable
}

// checkRange wants ports from low up to and without high.
func checkRange(t *testing.T, ports []uint16, low, high uint16) {
	t.Helper()
	for _, p := range ports {
		if p < low || p >= high {
			t.Errorf("source port %d is not from %d to %d", p, low, high-1)
		}
	}
}

// portsOf sends frames through the link and returns the source ports that
// their datagrams have.
func (a *alone) portsOf(t *testing.T, frames [][]byte) []uint16 {
	t.Helper()
	a.send(t, frames...)
	ports := map[uint16]bool{}
	for _, e := range a.sent(t, frames...) {
		ports[uint16(e.UDP.SrcPort)] = true
	}
	return slices.Sorted(maps.Keys(ports))
}

// flows are n frames of as many flows.
func flows(t *testing.T, n int, v6 bool) (frames [][]byte) {
	t.Helper()
	for i := range n {
		frames = append(frames, inner{v6: v6, srcPort: 40000, dstPort: uint16(1001 + i)}.frame(t, i))
	}
	return frames
}

// TestSourcePortRange narrows the range, by the system's setting or the link's
// own. Its end is not part of it.
func TestSourcePortRange(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			for _, c := range []struct {
				system    string // net.ipv4.ip_local_port_range
				low, high uint16 // srcport
				want      []uint16
				all       bool // every port of the range is met
			}{
				{system: "40000 40100", want: []uint16{40000, 40100}},
				{system: "40000 40100", low: 7, high: 7, want: []uint16{40000, 40100}},
				{low: 5000, high: 5003, want: []uint16{5000, 5003}, all: true},
				{low: 5000, high: 5001, want: []uint16{5000, 5001}, all: true},
				{low: 65535 - 3, high: 65535, want: []uint16{65535 - 3, 65535}, all: true},
			} {
				t.Run(fmt.Sprintf("%s/%s/%q %d %d", k, u.name, c.system, c.low, c.high), func(t *testing.T) {
					t.Parallel()
					a := newAlone(t, k, u, func(h *lab.Host, s *spec) {
						if c.system != "" {
							check(t, h.Sysctl("net.ipv4.ip_local_port_range", c.system))
						}
						s.SrcPortLow, s.SrcPortHigh = c.low, c.high
					})
					ports := a.portsOf(t, flows(t, manyFlows, false))
					checkRange(t, ports, c.want[0], c.want[1])
					width := int(c.want[1] - c.want[0])
					if n := len(ports); c.all && n != width || !c.all && n < manyPorts {
						t.Errorf("%d source ports of %d", n, width)
					}
				})
			}
		}
	}
}

// TestSourcePortsAroundListener has the port that datagrams come in on among
// those that they leave by.
func TestSourcePortsAroundListener(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(p.String()+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, p, u, func(a, b *spec) {
					a.SrcPortLow, a.SrcPortHigh = 4786, 4792
					b.SrcPortLow, b.SrcPortHigh = 4789, 4790
				})
				capture := lab.TestCapture(t, b.Host, "eth0")
				sendFlows(t, a.Host, innerB[0].Addr(), 2*manyFlows)
				for i := range innerA {
					check(t, a.Ping(innerB[i].Addr(), lab.PingOptions{Count: 3}).Lost())
					check(t, b.Ping(innerA[i].Addr(), lab.PingOptions{Count: 3}).Lost())
				}
				seen := dissect.VXLANs(capture.Stop(), 4789)
				if got, want := sourcePorts(seen, false, layers.LayerTypeUDP), []uint16{4786, 4787, 4788, 4789, 4790, 4791}; !slices.Equal(got, want) {
					t.Errorf("source ports %v, want %v", got, want)
				}
				if got := sourcePorts(seen, true, layers.LayerTypeEthernet); !slices.Equal(got, []uint16{4789}) {
					t.Errorf("source ports %v back, want 4789", got)
				}
			})
		}
	}
}
