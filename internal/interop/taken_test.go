package interop

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// takenFrames are frames that come out of a link as they went in, however odd.
func takenFrames(t *testing.T) map[string][][]byte {
	udp4, udp6 := inner{size: 50}.frame(t, 1), inner{size: 50, v6: true}.frame(t, 2)
	tcp4 := inner{size: 50, tcp: true}.frame(t, 3)
	return map[string][][]byte{
		"any destination MAC": to(udp4, "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05", "33:33:00:00:00:01", "02:de:ad:be:ef:00"),
		"wrong IP version":    {set(udp4, 14, 0x65), set(udp6, 14, 0x40), set(udp4, 14, 0xf5), set(udp6, 14, 0)},
		"wrong IPv4 checksum": {set(udp4, 24, udp4[24]^1), set(tcp4, 24, tcp4[24]^1)},
		"wrong UDP checksum":  {set(udp4, 40, udp4[40]^1), set(udp6, 60, udp6[60]^1), set(tcp4, 50, tcp4[50]^1)},
		"wrong lengths": {
			set(udp4, 16, 0xff), set(udp4, 16, 0, 0), set(udp4, 16, 0, 5), set(udp6, 18, 0xff), set(udp6, 18, 0, 0),
			set(udp4, 38, 0xff), set(udp4, 38, 0, 0), set(tcp4, 46, 0xf0), set(tcp4, 46, 0), set(udp4, 14, 0x4f), set(udp4, 14, 0x40),
		},
		"802.3": {
			ether(4, 46, slices.Concat([]byte{0x42, 0x42, 3}, make([]byte, 43))), // a bridge's BPDU
			ether(5, 3, []byte{0xaa, 0xaa, 3}), ether(6, 0, make([]byte, 46)),
		},
		"802.1Q": {
			tagged(udp4, typeVLAN, 42), tagged(udp6, typeVLAN, 0), tagged(udp4[:16], typeVLAN, 42), tagged(udp6[:30], typeVLAN, 42),
			tagged(tcp4, typeVLAN, 0xffff),
		},
		"QinQ":            {tagged(tagged(udp4, typeVLAN, 42), typeQinQ, 7), tagged(tagged(udp6, typeVLAN, 42), typeVLAN, 7)},
		"Ethernet alone":  {ether(7, typeLocal, nil), ether(8, 0x0801, nil)},
		"shorter than 60": {ether(9, typeARP, nil), ether(10, typeARP, []byte{0, 1}), ether(11, typeLocal, []byte{1})},
		"IPv4 and IPv6 of no more than the header": {
			ether(12, typeIPv4, inner{}.packet(t)[:20]), ether(13, typeIPv6, inner{v6: true}.packet(t)[:40]),
		},
		"padded": {slices.Concat(udp4, make([]byte, 18)), slices.Concat(tcp4, make([]byte, 300))},
		"jumbo": {
			inner{size: 9000 - 28}.frame(t, 14), inner{size: 9000 - 60, v6: true, tcp: true}.frame(t, 15),
			ether(16, typeLocal, bytes.Repeat([]byte("jumbo"), 1800)), ether(17, typeLocal, make([]byte, 65507-8-14)),
		},
	}
}

// to is a frame to each of some MAC addresses.
func to(frame []byte, macs ...string) (all [][]byte) {
	for _, m := range macs {
		mac, _ := net.ParseMAC(m)
		all = append(all, readdressed(frame, mac, nil))
	}
	return all
}

// set is a frame with other bytes in a place.
func set(frame []byte, at int, to ...byte) []byte {
	frame = slices.Clone(frame)
	copy(frame[at:], to)
	return frame
}

// TestTakenFrames forges datagrams around frames of all sorts. What a plain
// switch would carry comes out as it is, and counts.
func TestTakenFrames(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			for _, offload := range []string{"on", "off"} {
				if k == kernel && offload == "off" {
					continue // weft's word
				}
				t.Run(string(k)+"/"+u.name+"/offload "+offload, func(t *testing.T) {
					t.Parallel()
					a := newAlone(t, k, u, func(_ *lab.Host, s *spec) { s.Words = []string{"offload", offload} })
					start := a.figures(t)
					var want figures
					for name, frames := range takenFrames(t) {
						for _, f := range frames {
							a.forge(t, vxlan(5, f), lab.DatagramOptions{})
						}
						n := counted(frames)
						want.rxPackets, want.rxBytes = want.rxPackets+n.rxPackets, want.rxBytes+n.rxBytes
						t.Run(name, func(t *testing.T) {
							for _, f := range frames {
								a.delivered(t, f)
							}
						})
					}
					a.received(t, start, int(want.rxPackets))
					end := a.figures(t)
					if end.rxPackets != want.rxPackets || end.rxBytes != want.rxBytes || end.lost(start) != 0 {
						t.Errorf("%d packets, %d bytes counted and %d dropped; want %d, %d and none",
							end.rxPackets, end.rxBytes, end.lost(start), want.rxPackets, want.rxBytes)
					}
				})
			}
		}
	}
}

// TestTakenDatagrams forges datagrams with odd outer headers, all of which are
// taken: any source, any of the host's addresses, in fragments, with any TTL.
func TestTakenDatagrams(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(string(k)+"/"+u.name, func(t *testing.T) {
				second, stranger := second4, netip.MustParseAddr("10.211.55.77")
				if u == underlay6 {
					second, stranger = second6, netip.MustParseAddr("fd00:211:55::77")
				}
				a := newAlone(t, k, u, func(h *lab.Host, _ *spec) { check(t, h.AddAddr("eth0", second)) })
				for i, c := range []struct {
					src, dst netip.Addr
					port     uint16
					size     int
					o        lab.DatagramOptions
				}{
					{src: u.b, dst: second.Addr(), port: 40000},
					{src: stranger, dst: u.a, port: 40000},
					{src: stranger, dst: second.Addr(), port: 1},
					{src: u.b, dst: u.a, port: 0},
					{src: u.b, dst: u.a, port: 65535},
					{src: u.b, dst: u.a, port: 4789},
					{src: u.b, dst: u.a, port: 40000, size: 3000}, // fragments
					{src: stranger, dst: second.Addr(), port: 40000, size: 60000},
					{src: u.b, dst: u.a, port: 40000, o: lab.DatagramOptions{TTL: 1}},
					{src: u.b, dst: u.a, port: 40000, o: lab.DatagramOptions{DF: true, TOS: 0xfc}},
				} {
					frame := inner{size: c.size}.frame(t, i)
					check(t, a.peer.SendUDP(netip.AddrPortFrom(c.src, c.port), netip.AddrPortFrom(c.dst, a.port), vxlan(5, frame), c.o))
					a.delivered(t, frame)
				}
			})
		}
	}
}
