package interop

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What the kernel's device sends over a veth with offloads is nothing that a
// cable ever carries. The tests here first see that it does, and then what
// weft makes of it.

// segmentOf returns the transport header and payload of an inner packet, and
// the checksum in it; nil if it is neither TCP nor UDP.
func segmentOf(p gopacket.Packet) (segment []byte, proto layers.IPProtocol, sum uint16) {
	switch l := p.TransportLayer().(type) {
	case *layers.TCP:
		return append(append([]byte{}, l.Contents...), l.Payload...), layers.IPProtocolTCP, l.Checksum
	case *layers.UDP:
		return append(append([]byte{}, l.Contents...), l.Payload...), layers.IPProtocolUDP, l.Checksum
	}
	return nil, 0, 0
}

// isPartial reports whether an inner packet's checksum holds the sum of its
// pseudo-header (RFC 9293 §3.1) and no more, not complemented.
func isPartial(p gopacket.Packet) bool {
	segment, proto, sum := segmentOf(p)
	if segment == nil {
		return false
	}
	src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
	want := uint32(proto) + uint32(len(segment))
	for _, addr := range [][]byte{src.Raw(), dst.Raw()} {
		for ; len(addr) > 0; addr = addr[2:] {
			want += uint32(binary.BigEndian.Uint16(addr))
		}
	}
	for want > 0xffff {
		want = want&0xffff + want>>16
	}
	return sum == uint16(want)
}

// TestPartialChecksum shows that packets of which only the pseudo-header was
// summed arrive, and come out of weft's device so that the stack takes them:
// marked as unfinished, or with the sum completed where no mark can be set.
func TestPartialChecksum(t *testing.T) {
	t.Parallel()
	for _, u := range underlays {
		for _, word := range []string{"on", "off"} {
			t.Run(u.name+"/offload-"+word, func(t *testing.T) {
				a, b := connect(t, pairing{kernel, user}, u, byProcess(withOffload(word)))
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				wire, inside := lab.TestCapture(t, b.Host, "eth0"), lab.TestCapture(t, b.Host, "vxlan0")
				for i := range innerB {
					_, err := lab.Echo(a.Host, b.Host, anyPort(innerB[i]), []int{0, 1, 100, 1001})
					check(t, err)
					transfer(t, a, b, innerB[i], 1000)
				}
				// Twice there and back: what ends a connection has passed by then.
				check(t, a.Ping(b.addr, lab.PingOptions{Count: 2}).Lost())
				seen := map[string]int{}
				for _, e := range dissect.VXLANs(wire.Stop(), 4789) {
					if outerSource(e) == u.a && isPartial(e.Inner) {
						seen[flowName(e.Inner)]++
					}
				}
				for _, flow := range []string{"IPv4 UDP", "IPv4 TCP", "IPv6 UDP", "IPv6 TCP"} {
					if seen[flow] < 2 {
						t.Errorf("%d partial checksums in %s on the wire: this lab does not show what it should", seen[flow], flow)
					}
				}
				checkInside(t, inside.Stop(), seen, word)
			})
		}
	}
}

func flowName(p gopacket.Packet) string {
	if p.NetworkLayer() == nil || p.TransportLayer() == nil {
		return ""
	}
	return fmt.Sprintf("%v %v", p.NetworkLayer().LayerType(), p.TransportLayer().LayerType())
}

// checkInside looks at what weft wrote to its device.
func checkInside(t *testing.T, frames []lab.Frame, want map[string]int, word string) {
	t.Helper()
	marked := map[string]int{}
	for _, f := range frames {
		if f.Outgoing {
			continue
		}
		p := dissect.Packet(f)
		switch {
		case f.ChecksumPartial:
			marked[flowName(p)]++
		case dissect.VerifyChecksums(p) != nil:
			t.Errorf("%v: %v", p, dissect.VerifyChecksums(p))
		}
	}
	for flow, n := range want {
		if word == "off" {
			n = 0
		}
		if marked[flow] != n {
			t.Errorf("%d frames of %s were written with an unfinished checksum, want %d", marked[flow], flow, n)
		}
	}
}

// TestSuperFrame shows that TCP super-frames arrive in one datagram each, and
// are handed on whole, or cut where the device does not take them.
func TestSuperFrame(t *testing.T) {
	t.Parallel()
	for _, u := range underlays {
		for _, word := range []string{"on", "off"} {
			t.Run(u.name+"/offload-"+word, func(t *testing.T) {
				a, b := connect(t, pairing{kernel, user}, u, byProcess(withOffload(word)))
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				d, err := b.Device("vxlan0")
				check(t, err)
				m := newMeter(t, a, b)
				wire, inside := lab.TestCapture(t, b.Host, "eth0"), lab.TestCapture(t, b.Host, "vxlan0")
				for i := range innerB {
					transfer(t, a, b, innerB[i], 4*mib)
				}
				if got := largestInner(wire.Stop(), u.a); got < 32<<10 {
					t.Errorf("the largest inner packet in one datagram has %d bytes: this lab does not show what it should", got)
				}
				got := largestReceived(t, inside.Stop())
				if word == "on" && got < 32<<10 || word == "off" && got > d.MTU+14 {
					t.Errorf("the largest frame written to the device has %d bytes, its MTU is %d", got, d.MTU)
				}
				m.checkDrops(t)
				if o := m.moved()[0].Offload; o.UDPGRO != 0 || (o.DevGSO > 0) != (word == "on") {
					t.Errorf("offloads %+v", o)
				}
			})
		}
	}
}

// largestInner returns the size of the largest IP packet that one VXLAN
// datagram from an address carried, by that packet's own header.
func largestInner(frames []lab.Frame, from netip.Addr) (largest int) {
	for _, e := range dissect.VXLANs(frames, 4789) {
		size := 0
		switch ip := e.Inner.NetworkLayer().(type) {
		case *layers.IPv4:
			size = int(ip.Length)
		case *layers.IPv6:
			size = 40 + int(ip.Length)
		}
		if outerSource(e) == from && 8+14+size == len(e.UDP.Payload) {
			largest = max(largest, size)
		}
	}
	return largest
}

// largestReceived returns the size of the largest frame that came out of a
// device. Whatever is not marked as unfinished must have right checksums.
func largestReceived(t *testing.T, frames []lab.Frame) (largest int) {
	t.Helper()
	for _, f := range frames {
		if f.Outgoing {
			continue
		}
		largest = max(largest, f.Length)
		if err := dissect.VerifyChecksums(dissect.Packet(f)); err != nil && !f.ChecksumPartial {
			t.Fatalf("a frame of %d bytes: %v", f.Length, err)
		}
	}
	return largest
}
