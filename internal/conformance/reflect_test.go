package conformance

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What a link that is a port of a bridge answers to packets that the underlay
// does not carry, and what it does with those that it must not answer.

// reflecting is such a link with a host behind its bridge, all of whose MTUs
// are 1500, as is the underlay's.
type reflecting struct {
	*alone
	pod     *lab.Host
	heard   *lab.Capture // of the pod's eth0
	replies int          // looked at so far
}

func newReflecting(t *testing.T, k kind, v6 bool, adjust func(*spec)) *reflecting {
	t.Helper()
	lab.NeedBridge(t)
	r := &reflecting{alone: newAlone(t, k, v6, adjust), pod: lab.TestHost(t, "pod")}
	check(t, r.AddBridge("br0"))
	check(t, r.pod.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
	check(t, lab.Connect(lab.Port{Host: r.Host, Dev: "pod0"}, lab.Port{Host: r.pod, MAC: mac("02:00:00:00:00:0a")}))
	check(t, r.pod.SetOffloads("eth0", lab.OffloadsOff()))
	check(t, r.SetMaster("br0", "pod0", r.dev))
	r.fdb(t, "append", zeroMAC, "dst", r.other(t, 0))
	r.heard = lab.TestCapture(t, r.pod, "eth0")
	return r
}

// podMAC is where an answer goes.
var podMAC = mac("02:00:00:00:00:0a")

// answer sends a frame from the pod and returns what comes back to it.
func (r *reflecting) answer(t *testing.T, frame []byte) []byte {
	t.Helper()
	check(t, r.pod.SendFrame("eth0", frame))
	var last []byte
	check(t, lab.Eventually(waitLimit, func() error {
		all := r.answers()
		if len(all) != r.replies+1 {
			return fmt.Errorf("%d answers, want %d", len(all), r.replies+1)
		}
		last = all[r.replies]
		return nil
	}))
	r.replies = len(r.answers())
	return last
}

// answers are the ICMP errors that the pod has got.
func (r *reflecting) answers() (all [][]byte) {
	for _, f := range r.heard.Frames() {
		if !f.Outgoing && bytes.Equal(f.Data[:6], podMAC) {
			all = append(all, f.Data)
		}
	}
	return all
}

// sized is a packet of some size in its frame. payload makes it larger than
// its headers.
type sized struct {
	v6, tcp, mayFragment bool
	tos, ttl             uint8
	size                 int // of the IP packet
}

func (p sized) frame(t *testing.T) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: podMAC, DstMAC: unknownMAC, EthernetType: layers.EthernetTypeIPv4}
	src, dst := overlay(3), overlay(2)
	var ip gopacket.NetworkLayer
	at := 0
	next := layers.IPProtocolUDP
	if p.tcp {
		next = layers.IPProtocolTCP
	}
	if p.v6 {
		at, eth.EthernetType = 1, layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, TrafficClass: p.tos, HopLimit: p.ttl, NextHeader: next, SrcIP: src[at].Addr().AsSlice(), DstIP: dst[at].Addr().AsSlice()}
	} else {
		four := &layers.IPv4{Version: 4, IHL: 5, TOS: p.tos, TTL: p.ttl, Id: 0x1234, Protocol: next, SrcIP: src[at].Addr().AsSlice(), DstIP: dst[at].Addr().AsSlice()}
		if !p.mayFragment {
			four.Flags = layers.IPv4DontFragment
		}
		ip = four
	}
	return p.fill(t, eth, ip)
}

// fill puts the upper layer behind the headers and fills the packet up.
func (p sized) fill(t *testing.T, eth *layers.Ethernet, ip gopacket.NetworkLayer) []byte {
	t.Helper()
	header := 20
	if p.v6 {
		header = 40
	}
	parts := []gopacket.SerializableLayer{eth, ip.(gopacket.SerializableLayer)}
	if p.tcp {
		tcp := &layers.TCP{SrcPort: 1, DstPort: 2, Seq: 7, ACK: true, Window: 99}
		check(t, tcp.SetNetworkLayerForChecksum(ip))
		return serialized(t, append(parts, tcp, gopacket.Payload(make([]byte, p.size-header-20)))...)
	}
	udp := &layers.UDP{SrcPort: 1, DstPort: 2}
	check(t, udp.SetNetworkLayerForChecksum(ip))
	return serialized(t, append(parts, udp, gopacket.Payload(make([]byte, p.size-header-8)))...)
}

// reflected are packets that are answered.
var reflected = map[string]sized{
	"UDP":                  {ttl: 64, size: 1500},
	"UDP with TTL and TOS": {ttl: 3, tos: 0xb9, size: 1500},
	"TCP":                  {ttl: 64, tcp: true, size: 1500},
	"TCP, one byte over":   {ttl: 64, tcp: true, size: 1451},
	"UDP6":                 {v6: true, ttl: 64, size: 1500},
	"UDP6 with TTL, class": {v6: true, ttl: 3, tos: 0xb9, size: 1500},
	"TCP6":                 {v6: true, ttl: 64, tcp: true, size: 1500},
	"TCP6, one byte over":  {v6: true, ttl: 64, tcp: true, size: 1451},
}

// The errors are what the standards and the kernel's device say, field by
// field; each counts once in both directions, the packet does not at all.
func TestReflectedError(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		r := newReflecting(t, k, v6, nil)
		fits := uint32(1450)
		if v6 {
			fits = 1430
		}
		for name, p := range reflected {
			t.Run(name, func(t *testing.T) {
				before := r.figures(t)
				frame := p.frame(t)
				got := r.answer(t, frame)
				if want := expectedError(t, p, frame, fits); !bytes.Equal(got, want) {
					t.Errorf("the answer is\n%swant\n%s", hex.Dump(got), hex.Dump(want))
				}
				after := r.figures(t)
				n, b := uint64(1), uint64(len(got))
				if after.rxPackets-before.rxPackets != n || after.rxBytes-before.rxBytes != b || after.txPackets-before.txPackets != n || after.txBytes-before.txBytes != b {
					t.Errorf("figures before %+v, after %+v; want 1 packet of %d bytes more in both directions", before, after, b)
				}
			})
		}
	})
}

// expectedError builds the answer: ICMP "fragmentation needed" (RFC 1191) of
// 576 bytes, or ICMPv6 "packet too big" (RFC 4443 §3.2) of 1280.
func expectedError(t *testing.T, p sized, frame []byte, mtu uint32) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: unknownMAC, DstMAC: podMAC, EthernetType: layers.EthernetTypeIPv4}
	src, dst := overlay(2), overlay(3)
	if !p.v6 {
		ip := &layers.IPv4{Version: 4, IHL: 5, TTL: p.ttl, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolICMPv4, SrcIP: src[0].Addr().AsSlice(), DstIP: dst[0].Addr().AsSlice()}
		icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 4), Seq: uint16(mtu)}
		return serialized(t, eth, ip, icmp, gopacket.Payload(frame[14:14+576-28]))
	}
	eth.EthernetType = layers.EthernetTypeIPv6
	ip := &layers.IPv6{Version: 6, HopLimit: p.ttl, NextHeader: layers.IPProtocolICMPv6, SrcIP: src[1].Addr().AsSlice(), DstIP: dst[1].Addr().AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(2, 0)}
	check(t, icmp.SetNetworkLayerForChecksum(ip))
	tooBig := []byte{0, 0, byte(mtu >> 8), byte(mtu)}
	return serialized(t, eth, ip, icmp, gopacket.Payload(slices.Concat(tooBig, frame[14:14+1280-48])))
}

// Packets that may be fragmented, and what is not IP or is tagged, are sent:
// over IPv4 the underlay fragments them, if the link's datagrams let it.
func TestReflectedNot(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		r := newReflecting(t, k, false, nil)
		tagged := func(frame []byte) []byte {
			return slices.Concat(frame[:12], []byte{0x81, 0, 0, 7}, frame[12:1496])
		}
		frames := [][]byte{
			sized{mayFragment: true, ttl: 64, size: 1500}.frame(t),
			tagged(sized{ttl: 64, size: 1490}.frame(t)),
			ether(unknownMAC, podMAC, typeLocal, make([]byte, 1500)),
		}
		arrived := receiver(t, r.peer, r.v6)
		for _, f := range frames {
			check(t, r.pod.SendFrame("eth0", f))
			arrived.want(t, f)
		}
		check(t, lab.Eventually(waitLimit, func() error {
			if n := fragments(r.wire.Frames()); n != 2*len(frames) {
				return fmt.Errorf("%d fragments on the wire, want 2 of each frame", n)
			}
			return nil
		}))
		if n := len(r.answers()); n > 0 {
			t.Errorf("%d answers, want none", n)
		}
	})
}

// fragments counts those of IPv4 packets that came in.
func fragments(frames []lab.Frame) (n int) {
	for _, f := range frames {
		ip, _ := dissect.Packet(f).NetworkLayer().(*layers.IPv4)
		if !f.Outgoing && ip != nil && (ip.FragOffset > 0 || ip.Flags&layers.IPv4MoreFragments != 0) {
			n++
		}
	}
	return n
}

// reassembled is a link of the kernel's at the other end, where frames arrive.
type reassembled struct{ inside *lab.Capture }

func receiver(t *testing.T, h *lab.Host, v6 bool) *reassembled {
	t.Helper()
	local := lab.PairB4.Addr()
	if v6 {
		local = lab.PairB6.Addr()
	}
	l := newLink(t, h, kernel, spec{VXLAN: lab.VXLAN{Name: "vx0", ID: aloneVNI, Port: alonePort, Local: local}})
	return &reassembled{lab.TestCapture(t, h, l.dev)}
}

func (r *reassembled) want(t *testing.T, frame []byte) {
	t.Helper()
	_, err := r.inside.Wait(waitLimit, func(f lab.Frame) bool { return bytes.Equal(f.Data, frame) })
	if err != nil {
		t.Errorf("frame of %d bytes: %v", len(frame), err)
	}
}

// Where the underlay must not fragment, such frames go nowhere and are counted:
// over IPv4 with DF set, and always over IPv6.
func TestReflectedNotNorSent(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		r := newReflecting(t, k, v6, func(s *spec) {
			if !v6 {
				s.DF = lab.DFSet
			}
		})
		lost := func(f figures) uint64 { return f.txErrors + f.txDropped }
		before := r.figures(t)
		check(t, r.pod.SendFrame("eth0", sized{mayFragment: true, ttl: 64, size: 1500}.frame(t)))
		r.awaitFigure(t, "tx errors and drops", lost, lost(before)+1)
		// What fits goes on passing, and an answer is still given.
		fits := sized{ttl: 64, size: 1400}.frame(t)
		arrived := receiver(t, r.peer, v6)
		check(t, r.pod.SendFrame("eth0", fits))
		arrived.want(t, fits)
		r.answer(t, sized{ttl: 64, size: 1500}.frame(t))
		if n := fragments(r.wire.Frames()); n > 0 {
			t.Errorf("%d fragments on the wire", n)
		}
	})
}

// "Fragmentation needed" about a datagram of the link, from a router that the
// underlay has behind the wire, lowers what fits from then on.
func TestReflectedAfterRouterSaysSo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		r := newReflecting(t, k, false, nil)
		small := sized{ttl: 64, size: 1400}.frame(t)
		routerSays(t, r.peer, r.datagramOf(t, small), 1300)
		r.awaitRouteMTU(t, 1300)
		// An answer to what was asked before may be a second old.
		var answered []byte
		check(t, lab.Eventually(waitLimit, func() error {
			check(t, r.pod.SendFrame("eth0", small))
			if all := r.answers(); len(all) > 0 {
				answered = all[0]
				return nil
			}
			return fmt.Errorf("no answer to a packet of 1400 bytes")
		}))
		if want := expectedError(t, sized{ttl: 64}, small, 1250); !bytes.Equal(answered, want) {
			t.Errorf("the answer is\n%swant\n%s", hex.Dump(answered), hex.Dump(want))
		}
	})
}

// Not heeded is an error about what the link cannot have sent. What it cannot
// have sent, the kernel's device and the sockets of weft judge by different
// fields of the quoted datagram.
func TestReflectedForgedError(t *testing.T) {
	t.Parallel()
	forgeries := []struct {
		what   string
		forge  func(frame []byte)
		heeded map[kind]bool
	}{
		{"another source", func(b []byte) { b[14+15] ^= 0x33 }, nil},
		{"another source port", func(b []byte) { b[14+20], b[14+21] = 3, 3 }, map[kind]bool{kernel: true}},
		{"another destination port", func(b []byte) { b[14+23] ^= 1 }, map[kind]bool{user: true}},
		{"another VNI", func(b []byte) { b[14+28+4] ^= 9 }, map[kind]bool{user: true}},
		{"no VNI", func(b []byte) { b[14+28] = 0 }, map[kind]bool{user: true}},
	}
	each(t, func(t *testing.T, k kind) {
		r := newReflecting(t, k, false, nil)
		datagram := r.datagramOf(t, sized{ttl: 64, size: 1400}.frame(t))
		mtu := uint16(1450)
		known := 0
		for _, f := range forgeries {
			mtu -= 10
			b := slices.Clone(datagram)
			f.forge(b)
			routerSays(t, r.peer, b, mtu)
			if f.heeded[k] {
				known = int(mtu)
			}
			// What came before has been looked at when this is answered.
			check(t, r.peer.Ping(r.local, lab.PingOptions{}).Lost())
			if got := routeMTU(t, r.Host, netip.MustParseAddr(r.other(t, 0))); got != known {
				t.Errorf("after an error about a datagram with %s the host has an MTU of %d for the remote, want %d", f.what, got, known)
			}
		}
	})
}

// datagramOf sends a frame and returns the datagram that the wire saw.
func (r *reflecting) datagramOf(t *testing.T, frame []byte) []byte {
	t.Helper()
	check(t, r.pod.SendFrame("eth0", frame))
	f, err := r.wire.Wait(waitLimit, func(f lab.Frame) bool {
		e, ok := dissect.DecodeVXLAN(f, alonePort)
		return ok && bytes.Equal(e.Inner.Data(), frame)
	})
	check(t, err)
	return f.Data
}

// awaitRouteMTU waits until the host has heard what the path to its remote
// carries.
func (r *reflecting) awaitRouteMTU(t *testing.T, want int) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		if got := routeMTU(t, r.Host, netip.MustParseAddr(r.other(t, 0))); got != want {
			return fmt.Errorf("the host has an MTU of %d for the remote, want %d", got, want)
		}
		return nil
	}))
}

// routerSays sends ICMP "fragmentation needed" with an MTU about an IPv4 packet
// that a host has seen, back to its sender.
func routerSays(t *testing.T, h *lab.Host, frame []byte, mtu uint16) {
	t.Helper()
	about := gopacket.NewPacket(frame, layers.LinkTypeEthernet, gopacket.Default)
	eth, ip := about.LinkLayer().(*layers.Ethernet), about.NetworkLayer().(*layers.IPv4)
	answer := serialized(
		t,
		&layers.Ethernet{SrcMAC: eth.DstMAC, DstMAC: eth.SrcMAC, EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: ip.DstIP, DstIP: ip.SrcIP},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 4), Seq: mtu},
		gopacket.Payload(frame[14:14+20+8+8+20]),
	)
	check(t, h.SendFrame("eth0", answer))
}
