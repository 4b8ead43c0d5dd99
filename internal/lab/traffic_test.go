//go:build linux

package lab_test

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

func TestPingOptions(t *testing.T) {
	a, b := lab.TestPair(t)
	capture := lab.TestCapture(t, b, "eth0")
	for _, df := range []bool{false, true} {
		r := a.Ping(lab.PairB4.Addr(), lab.PingOptions{Count: 3, TOS: 0x2b, TTL: 9, DF: df, Source: lab.PairA4.Addr()})
		if r.Lost() != nil || r.Sent != 3 || len(r.RTTs) != 3 || r.RTTs[0] <= 0 {
			t.Errorf("DF %v: %+v", df, r)
		}
	}
	check(t, a.Ping(lab.PairB6.Addr(), lab.PingOptions{TOS: 0x2b, TTL: 9}).Lost())
	requests4 := map[bool]int{} // by DF
	requests6 := 0
	for _, f := range capture.Stop() {
		p := dissect.Packet(f)
		if ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4); ok && ip.TTL == 9 && ip.TOS == 0x2b {
			requests4[ip.Flags&layers.IPv4DontFragment != 0]++
		}
		if ip, ok := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6); ok && ip.HopLimit == 9 && ip.TrafficClass == 0x2b {
			requests6++
		}
	}
	if requests4[false] != 3 || requests4[true] != 3 || requests6 != 1 {
		t.Errorf("seen: %v over IPv4 by DF, %d over IPv6", requests4, requests6)
	}
}

func TestPingThatFails(t *testing.T) {
	a, _ := lab.TestPair(t)
	for _, c := range []struct {
		dst  netip.Addr
		size int
	}{{lab.PairB4.Addr(), 1473}, {lab.PairB6.Addr(), 1453}} {
		if r := a.Ping(c.dst, lab.PingOptions{Size: c.size, DF: true}); !errors.Is(r.Err, unix.EMSGSIZE) {
			t.Errorf("%v: %+v, want EMSGSIZE", c.dst, r)
		}
		pingOnce(t, a, c.dst, lab.PingOptions{Size: 20000}) // in fragments
	}
	r := a.Ping(netip.MustParseAddr("10.211.55.99"), lab.PingOptions{Timeout: 20 * time.Millisecond})
	if r.Lost() == nil || r.Err != nil || r.Received != 0 {
		t.Errorf("ping of nobody: %+v", r)
	}
}

func TestTransferBothWaysAtOnce(t *testing.T) {
	a, b := lab.TestPair(t)
	var wg sync.WaitGroup
	for _, c := range []struct {
		from, to *lab.Host
		dst      netip.Prefix
	}{{a, b, lab.PairB4}, {b, a, lab.PairA6}} {
		wg.Go(func() {
			done, err := lab.Transfer(c.from, c.to, anyPort(c.dst), 4<<20)
			if err != nil || done.Bytes != 4<<20 || done.BitsPerSecond() <= 0 {
				t.Errorf("%+v, %v", done, err)
			}
		})
	}
	wg.Wait()
	if _, err := lab.Transfer(a, b, netip.MustParseAddrPort("10.211.55.99:1"), 1); err == nil {
		t.Error("a transfer to an address that is not there succeeded")
	}
}

func TestThroughput(t *testing.T) {
	a, b := lab.TestPair(t)
	r, err := lab.Throughput(a, b, anyPort(lab.PairB4), 100*time.Millisecond, 3)
	check(t, err)
	if len(r.Streams) != 3 || r.Streams[2] == 0 || r.Duration != 100*time.Millisecond || r.BitsPerSecond() < 1e6 {
		t.Errorf("%+v: %.0f bit/s", r, r.BitsPerSecond())
	}
	// Of a burst that is sent in no time all is late.
	r, err = lab.Throughput(a, b, anyPort(lab.PairB4), time.Nanosecond, 1)
	if err != nil || r.Bytes() != 0 || r.Late == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestEcho(t *testing.T) {
	a, b := lab.TestPair(t)
	sizes := []int{0, 1, 2, 1471, 1472, 1473, 9000, lab.MaxDatagram}
	for _, dst := range []netip.Prefix{lab.PairB4, lab.PairB6} {
		e, err := lab.Echo(a, b, anyPort(dst), sizes)
		if err != nil || e.Datagrams != len(sizes) {
			t.Errorf("%v: %+v, %v", dst, e, err)
		}
	}
	check(t, b.SetDown("eth0"))
	e, err := lab.Echo(a, b, anyPort(lab.PairB4), []int{7})
	if err == nil || e.Lost == 0 {
		t.Errorf("with the wire cut: %+v, %v", e, err)
	}
}
