//go:build linux

package lab_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

func TestWire(t *testing.T) {
	a, b := lab.TestHost(t, "a"), lab.TestHost(t, "b")
	mac := []byte{2, 0, 0, 0, 0, 7}
	check(t, lab.Connect(
		lab.Port{Host: a, Dev: "uplink", MTU: 9000, Addrs: []netip.Prefix{lab.PairA4, lab.PairA6}, MAC: mac},
		lab.Port{Host: b, MTU: 8000, Addrs: []netip.Prefix{lab.PairB4, lab.PairB6}},
	))
	d, err := a.Device("uplink")
	check(t, err)
	if d.MTU != 9000 || d.MAC.String() != "02:00:00:00:00:07" {
		t.Errorf("device %+v", d)
	}
	if d, err := b.Device("eth0"); err != nil || d.MTU != 8000 {
		t.Errorf("device %+v, %v", d, err)
	}
	pingOnce(t, a, lab.PairB4.Addr(), lab.PingOptions{Size: 8000 - 28, DF: true})
	pingOnce(t, b, lab.PairA6.Addr(), lab.PingOptions{Size: 8000 - 48, DF: true})
}

// TestAddressesAreUsableAtOnce fails where a first packet is lost to a carrier
// or an IPv6 address that is not quite there.
func TestAddressesAreUsableAtOnce(t *testing.T) {
	for range 10 {
		a, b := lab.TestPair(t)
		for _, dst := range []netip.Addr{lab.PairB4.Addr(), lab.PairB6.Addr()} {
			pingOnce(t, a, dst, lab.PingOptions{})
		}
		check(t, a.Close())
		check(t, b.Close())
	}
}

// TestCarrierIsThereAtOnce wants both ends of a wire to transmit when Connect
// returns.
func TestCarrierIsThereAtOnce(t *testing.T) {
	for range 20 {
		a, b := lab.TestHost(t, "a"), lab.TestHost(t, "b")
		check(t, lab.Connect(lab.Port{Host: a}, lab.Port{Host: b}))
		for _, h := range []*lab.Host{a, b} {
			d, err := h.Device("eth0")
			check(t, err)
			if d.Flags&net.FlagRunning == 0 {
				t.Errorf("host %s: eth0 is %v", h.Name, d.Flags)
			}
		}
	}
}

func TestSwitch(t *testing.T) {
	lab.NeedBridge(t)
	sw, err := lab.NewSwitch()
	check(t, err)
	t.Cleanup(func() { check(t, sw.Close()) })
	var hosts []*lab.Host
	for i := range 4 {
		h := lab.TestHost(t, fmt.Sprintf("h%d", i))
		check(t, sw.Plug(lab.Port{Host: h, Addrs: []netip.Prefix{nth4(i), nth6(i)}}))
		hosts = append(hosts, h)
	}
	for i, h := range hosts {
		next := (i + 1) % len(hosts)
		pingOnce(t, h, nth4(next).Addr(), lab.PingOptions{})
		pingOnce(t, h, nth6(next).Addr(), lab.PingOptions{})
	}
	if _, err := sw.Host().Device("port3"); err != nil {
		t.Error(err)
	}
}

func nth4(i int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", i+1)) }

func nth6(i int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("fd00::%d/64", i+1)) }
