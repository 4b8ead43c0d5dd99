package conformance

import (
	"fmt"
	"maps"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// The cases of vxlan_reserved.sh.

// reservedBits are the 39 bits of the header that are neither the I flag nor
// of the VNI, counted from its first.
func reservedBits() (bits []int) {
	for i := range 64 {
		if i != 4 && (i < 32 || i >= 56) {
			bits = append(bits, i)
		}
	}
	return bits
}

// reserved is a link with a host in its bridge that counts what comes out.
type reserved struct {
	*sites
	*segment
	arrived *tally
}

func newReserved(t *testing.T, k kind, v variant, adjust func(*spec)) *reserved {
	t.Helper()
	s := newSites(t, v.underlay, v.port)
	g := s.addSegment(t, k, net1000, func(sp *spec) {
		bridgeWords(sp)
		if adjust != nil {
			adjust(sp)
		}
	})
	return &reserved{s, g, newTally(t, g.h1, "eth0")}
}

// send sends an echo request in a datagram whose header has some more bits.
func (r *reserved) send(t *testing.T, id uint16, bits ...int) {
	t.Helper()
	v6 := r.underlay.sw.Addr().Is6()
	e := echo{
		srcMAC: mac("00:11:22:33:44:55"), dstMAC: macOf(t, r.h1, "eth0"),
		src: r.net.address(v6, 3), dst: r.net.address(v6, 1), id: id,
	}
	payload := vxlan(r.net.vni, e.frame(t))
	for _, bit := range bits {
		payload[bit/8] |= 0x80 >> (bit % 8)
	}
	r.sendOuter(t, payload, lab.DatagramOptions{})
}

// sendClean sends ten requests with nothing unusual, and wants them to arrive.
func (r *reserved) sendClean(t *testing.T) {
	t.Helper()
	for range 10 {
		r.send(t, 1)
	}
	r.arrived.await(t, 10, isEcho(1))
}

// default_test: ten clean datagrams arrive, and of those with one of the
// reserved bits none; each counts as one receive error.
func TestVXLANReservedDefault(t *testing.T) {
	eachVariant(t, variants[:2], func(t *testing.T, k kind, v variant) {
		if k == kernel {
			lab.NeedLinux(t, 6, 14, "receive errors for reserved bits")
		}
		r := newReserved(t, k, v, nil)
		r.sendClean(t)
		before, dropped := r.link.figures(t).rxErrors, r.link.drops(t)
		for i, bit := range reservedBits() {
			counted := t.Run(fmt.Sprintf("bit %d", bit), func(t *testing.T) {
				r.send(t, uint16(100+bit), bit)
				r.link.awaitFigure(t, "rx_errors", func(f figures) uint64 { return f.rxErrors }, before+uint64(i+1))
			})
			if !counted {
				return
			}
		}
		r.fences.pass(t, r.pods[0], "eth0", r.arrived)
		for _, bit := range reservedBits() {
			r.arrived.await(t, 0, isEcho(uint16(100+bit)))
		}
		r.arrived.await(t, 10, isEcho(1))
		if k == user {
			dropped["reserved_bits"] += 39
			if now := r.link.drops(t); !maps.Equal(now, dropped) {
				t.Errorf("dropped %v, want %v", now, dropped)
			}
		}
	})
}

// A receiver that goes by RFC 7348 §5 ignores reserved bits: weft's profile of
// that name, or the kernel's device with reserved_bits 0.
func TestVXLANReservedIgnored(t *testing.T) {
	eachVariant(t, variants[:2], func(t *testing.T, k kind, v variant) {
		if k == kernel {
			lab.NeedLinux(t, 6, 14, "reserved_bits of vxlan devices")
		}
		r := newReserved(t, k, v, func(s *spec) {
			s.AllowReservedBits = true
			s.Words = []string{"--profile", "rfc7348"}
		})
		before := r.link.figures(t).rxErrors
		r.sendClean(t)
		for _, bit := range reservedBits() {
			arrived := t.Run(fmt.Sprintf("bit %d", bit), func(t *testing.T) {
				r.send(t, uint16(100+bit), bit)
				r.arrived.await(t, 1, isEcho(uint16(100+bit)))
			})
			if !arrived {
				return
			}
		}
		r.send(t, 99, reservedBits()...)
		r.arrived.await(t, 1, isEcho(99))
		r.link.awaitFigure(t, "rx_errors", func(f figures) uint64 { return f.rxErrors }, before)
	})
}
