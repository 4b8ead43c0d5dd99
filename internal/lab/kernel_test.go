//go:build linux

package lab_test

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// The inner addresses of the tutorial's link.
var (
	innerA4 = netip.MustParsePrefix("10.20.1.2/24")
	innerB4 = netip.MustParsePrefix("10.20.1.3/24")
	innerA6 = netip.MustParsePrefix("fd00:20:1::2/64")
	innerB6 = netip.MustParsePrefix("fd00:20:1::3/64")
)

// underlay is one family that the control link runs over.
type underlay struct {
	name     string
	a, b     netip.Addr
	innerMTU int
}

var underlays = []underlay{
	{"ipv4", lab.PairA4.Addr(), lab.PairB4.Addr(), 1450},
	{"ipv6", lab.PairA6.Addr(), lab.PairB6.Addr(), 1430},
}

// kernelLink joins two hosts by the tutorial's link, the kernel at both ends.
func kernelLink(t *testing.T, u underlay) (a, b *lab.Host) {
	t.Helper()
	lab.NeedKernelVXLAN(t)
	a, b = lab.TestPair(t)
	for _, end := range []struct {
		h             *lab.Host
		local, remote netip.Addr
		addrs         []netip.Prefix
	}{
		{a, u.a, u.b, []netip.Prefix{innerA4, innerA6}},
		{b, u.b, u.a, []netip.Prefix{innerB4, innerB6}},
	} {
		check(t, end.h.AddKernelVXLAN(lab.VXLAN{
			Name: "vxlan0", ID: 5, Port: 4789, Local: end.local, Remote: end.remote, Dev: "eth0",
		}))
		check(t, end.h.SetUp("vxlan0"))
		for _, p := range end.addrs {
			check(t, end.h.AddAddr("vxlan0", p))
		}
	}
	return a, b
}

// TestKernelToKernel is the control: the link that userspace must not be told
// from, seen with the lab's own eyes.
func TestKernelToKernel(t *testing.T) {
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			a, b := kernelLink(t, u)
			capture := lab.TestCapture(t, b, "eth0")
			largest := u.innerMTU - 20 - 8
			pingOnce(t, a, innerB4.Addr(), lab.PingOptions{Size: largest, DF: true})
			pingOnce(t, b, innerA6.Addr(), lab.PingOptions{Size: u.innerMTU - 40 - 8, DF: true})
			tooBig := a.Ping(innerB4.Addr(), lab.PingOptions{Size: largest + 1, DF: true})
			if !errors.Is(tooBig.Err, unix.EMSGSIZE) || tooBig.Received != 0 {
				t.Errorf("ping of %d bytes: %+v, want EMSGSIZE", largest+1, tooBig)
			}
			checkWire(t, dissect.VXLANs(capture.Stop(), 4789))
			d, err := a.Device("vxlan0")
			check(t, err)
			if d.MTU != u.innerMTU || d.Kind != "vxlan" || d.Stats.TxPackets == 0 || d.Stats.RxPackets == 0 {
				t.Errorf("device %+v, want mtu %d and packets both ways", d, u.innerMTU)
			}
		})
	}
}

func checkWire(t *testing.T, seen []*dissect.Encapsulated) {
	t.Helper()
	largest := 0
	for _, e := range seen {
		if want := []byte{8, 0, 0, 0, 0, 0, 5, 0}; !bytes.Equal(e.Header, want) {
			t.Errorf("header % x, want % x", e.Header, want)
		}
		if e.VXLAN.VNI != 5 {
			t.Errorf("VNI %d, want 5", e.VXLAN.VNI)
		}
		if ttl := outerTTL(e); ttl != 64 {
			t.Errorf("outer TTL %d, want 64", ttl)
		}
		if p := e.UDP.SrcPort; p < 32768 || p > 60999 {
			t.Errorf("source port %d, want one of ip_local_port_range", p)
		}
		if e.Inner.Layer(layers.LayerTypeEthernet) == nil {
			t.Errorf("no inner frame in %v", e.Outer)
		}
		largest = max(largest, e.Frame.Length)
	}
	if want := 1500 + 14; largest != want {
		t.Errorf("largest of %d frames has %d bytes, want %d", len(seen), largest, want)
	}
}

func outerTTL(e *dissect.Encapsulated) uint8 {
	if e.IPv4 != nil {
		return e.IPv4.TTL
	}
	return e.IPv6.HopLimit
}

func TestKernelTransfer(t *testing.T) {
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			a, b := kernelLink(t, u)
			for _, c := range []struct {
				from, to *lab.Host
				dst      netip.Prefix
			}{{a, b, innerB4}, {b, a, innerA4}, {a, b, innerB6}, {b, a, innerA6}} {
				const size = 8<<20 + 1
				done, err := lab.Transfer(c.from, c.to, anyPort(c.dst), size)
				if err != nil || done.Bytes != size {
					t.Errorf("transfer to %v: %+v, %v", c.dst, done, err)
				}
			}
		})
	}
}

// TestKernelVXLANOptions checks on the wire each option that is written by hand.
func TestKernelVXLANOptions(t *testing.T) {
	lab.NeedKernelVXLAN(t)
	a, b := lab.TestPair(t)
	v := lab.VXLAN{
		Name: "vxlan0", ID: 0xabcdef, Port: 8472, Remote: lab.PairB4.Addr(), Dev: "eth0",
		SrcPortLow: 5000, SrcPortHigh: 5002, TTL: 7, TOS: 0x28, DF: lab.DFSet, NoUDPCSum: true,
		Address: []byte{2, 0, 0, 0, 0, 1}, MTU: 1300,
	}
	check(t, a.AddKernelVXLAN(v))
	check(t, a.SetUp("vxlan0"))
	check(t, a.AddAddr("vxlan0", innerA4))
	capture := lab.TestCapture(t, b, "eth0")
	a.Ping(innerB4.Addr(), lab.PingOptions{Timeout: 1}) // sends an ARP request at least
	frame, err := capture.Wait(waitLimit, func(f lab.Frame) bool { _, ok := dissect.DecodeVXLAN(f, 8472); return ok })
	check(t, err)
	e, _ := dissect.DecodeVXLAN(frame, 8472)
	if e.VXLAN.VNI != v.ID || e.IPv4.TTL != 7 || e.IPv4.TOS != 0x28 || e.IPv4.Flags&layers.IPv4DontFragment == 0 || e.UDP.Checksum != 0 {
		t.Errorf("on the wire: %v", e.Outer)
	}
	if p := e.UDP.SrcPort; p < 5000 || p >= 5002 {
		t.Errorf("source port %d, want 5000 or 5001", p)
	}
	d, err := a.Device("vxlan0")
	check(t, err)
	if d.MTU != 1300 || !bytes.Equal(d.MAC, v.Address) {
		t.Errorf("device %+v, want MTU 1300 and address %v", d, v.Address)
	}
}

// TestKernelVXLANFlowLabel does so over IPv6.
func TestKernelVXLANFlowLabel(t *testing.T) {
	lab.NeedKernelVXLAN(t)
	a, b := lab.TestPair(t)
	check(t, a.AddKernelVXLAN(lab.VXLAN{
		Name: "vxlan0", ID: 9, Port: 4789, Remote: lab.PairB6.Addr(), FlowLabel: 0x12345, UDP6ZeroCSumTx: true, TTLInherit: true,
	}))
	check(t, a.SetUp("vxlan0"))
	check(t, a.AddAddr("vxlan0", innerA6))
	capture := lab.TestCapture(t, b, "eth0")
	a.Ping(innerB6.Addr(), lab.PingOptions{Timeout: 1})
	frame, err := capture.Wait(waitLimit, func(f lab.Frame) bool {
		e, ok := dissect.DecodeVXLAN(f, 4789)
		return ok && e.Inner.Layer(layers.LayerTypeICMPv6NeighborSolicitation) != nil
	})
	check(t, err)
	e, _ := dissect.DecodeVXLAN(frame, 4789)
	if e.IPv6.FlowLabel != 0x12345 || e.UDP.Checksum != 0 || e.IPv6.HopLimit != 255 {
		t.Errorf("on the wire: %v", e.Outer)
	}
}
