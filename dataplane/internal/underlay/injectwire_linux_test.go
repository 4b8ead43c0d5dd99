//go:build !portable

package underlay

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/dataplane/internal/injector"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// needTunnelGSO leaves a test out where nothing can be injected.
func needTunnelGSO(t *testing.T) {
	t.Helper()
	needHosts(t)
	lab.NeedTunnelGSO(t)
}

// injectorIn opens an injector in a host, until the end of the test.
func injectorIn(t *testing.T, h *lab.Host) (d *injector.Device, r *Routes) {
	t.Helper()
	check(t, h.Do(func() (err error) {
		if d, err = injector.Open(); err == nil {
			r, err = OpenRoutes()
		}
		return err
	}))
	t.Cleanup(func() { r.Close(); d.Close() })
	return d, r
}

func pairAddrs(ipv6 bool) (a, b netip.Addr) {
	if ipv6 {
		return lab.PairA6.Addr(), lab.PairB6.Addr()
	}
	return lab.PairA4.Addr(), lab.PairB4.Addr()
}

// TestInjectedOnWire looks at what the peer gets of super-frames: where the
// device has no offloads, as many datagrams as there are segments, with
// everything right in them; otherwise one. The neighbour is looked for by the
// kernel.
func TestInjectedOnWire(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		for name, offloads := range map[string]lab.Offloads{"offloads on": lab.OffloadsOn(), "off": lab.OffloadsOff()} {
			for _, inner6 := range []bool{false, true} {
				for _, noCsum := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/inner6=%v/noCsum=%v", name, inner6, noCsum), func(t *testing.T) {
						needTunnelGSO(t)
						a, b := lab.TestPair(t)
						check(t, a.SetOffloads("eth0", offloads))
						capture := lab.TestCapture(t, b, "eth0")
						super := newTCPSuper(t, inner6, 40*innerMSS-300)
						injectOne(t, a, super, ipv6, noCsum)
						checkOnWire(t, capture, super, noCsum, !offloads["tx-udp_tnl-segmentation"])
					})
				}
			}
		}
	})
}

// injectOne injects a super-frame from a to b.
func injectOne(t *testing.T, a *lab.Host, super *tcpSuper, ipv6, noCsum bool) {
	t.Helper()
	d, routes := injectorIn(t, a)
	src, dst := pairAddrs(ipv6)
	s, book, socket := NewSender(), &ledger{}, fakeSocket(-1)
	s.UseInjector(d)
	socket.ipv6, socket.port = ipv6, 40123
	flow := flowTo(socket, book, 4789)
	flow.Remote, flow.NoCsum, flow.TOS = netip.AddrPortFrom(dst, 4789), noCsum, 2
	via := routes.Of(dst, netip.Addr{}, 0, 0)
	if via.Source != src || via.HopLimit != 64 || via.IfIndex != indexOf(t, a, "eth0") {
		t.Fatalf("the way to %v is %+v", dst, via)
	}
	if !s.Inject(flow, via, 5, &super.Packet, &super.layout, 1) {
		t.Fatal("nothing was injected")
	}
	wantLedger(t, book, 1, 1, 0)
}

// checkOnWire puts together what the inner TCP stream carries.
func checkOnWire(t *testing.T, c *lab.Capture, super *tcpSuper, noCsum, cut bool) {
	t.Helper()
	want, got, datagrams := super.Frame[super.layout.Payload:], []byte{}, 0
	_, err := c.Wait(10*time.Second, func(f lab.Frame) bool {
		e, ok := dissect.DecodeVXLAN(f, 4789)
		if !ok {
			return false
		}
		datagrams++
		got = append(got, checkDatagram(t, e, len(got), noCsum, cut)...)
		return len(got) >= len(want)
	})
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the payload is not what was sent")
	}
	if wanted := map[bool]int{true: 40, false: 1}[cut]; datagrams != wanted {
		t.Errorf("%d datagrams, want %d", datagrams, wanted)
	}
}

// checkDatagram looks at a datagram that carries the stream from byte at on,
// and returns its payload.
func checkDatagram(t *testing.T, e *dissect.Encapsulated, at int, noCsum, cut bool) []byte {
	t.Helper()
	tcp, ok := e.Inner.TransportLayer().(*layers.TCP)
	if !ok || tcp.Seq != uint32(1+at) {
		t.Fatalf("at %d: %v", at, e.Inner)
	}
	length := 0
	switch ip := e.Inner.NetworkLayer().(type) {
	case *layers.IPv4:
		length = int(ip.Length)
	case *layers.IPv6:
		length = 40 + int(ip.Length)
	}
	if 8+14+length != len(e.UDP.Payload) || (e.UDP.Checksum == 0) != noCsum {
		t.Errorf("at %d: inner length %d in %d bytes, outer checksum %#x", at, length, len(e.UDP.Payload), e.UDP.Checksum)
	}
	if fields, wanted := outerFields(e), len(e.Frame.Data)-14; !strings.HasSuffix(fields, fmt.Sprint(" ", wanted)) {
		t.Errorf("at %d: outer header is %s, want %d bytes", at, fields, wanted)
	}
	if cut {
		check(t, dissect.VerifyChecksums(e.Inner))
		check(t, dissect.VerifyChecksums(e.Outer))
	}
	return tcp.Payload
}
