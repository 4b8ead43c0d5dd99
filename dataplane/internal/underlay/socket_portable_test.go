//go:build !linux || portable

package underlay

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// TestGroupOptions reads back what a socket does with datagrams to groups: they
// are not heard here, and go as far as was asked for, by default one hop.
func TestGroupOptions(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		s := openForTest(t, v6)
		four, six := ipv4.NewPacketConn(s.conn), ipv6.NewPacketConn(s.conn)
		loop, groupTTL, hostTTL := four.MulticastLoopback, four.MulticastTTL, four.TTL
		if v6 {
			loop, groupTTL, hostTTL = six.MulticastLoopback, six.MulticastHopLimit, six.HopLimit
		}
		if on, err := loop(); on || err != nil {
			t.Errorf("IPv6 %v: loops back %v, %v", v6, on, err)
		}
		for _, c := range []struct{ ttl, host, group int }{{0, s.routeTTL, 1}, {7, 7, 7}, {255, 255, 255}, {0, s.routeTTL, 1}} {
			err := s.setOptions(&Outer{TTL: uint8(c.ttl)})
			host, errHost := hostTTL()
			group, errGroup := groupTTL()
			if err := errors.Join(err, errHost, errGroup); err != nil || host != c.host || group != c.group {
				t.Errorf("IPv6 %v, TTL %d: %d to hosts, %d to groups, %v", v6, c.ttl, host, group, err)
			}
		}
	}
}

// TestMembershipAnywhere: joining and leaving work where there is no lab.
func TestMembershipAnywhere(t *testing.T) {
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if d.Flags&net.FlagLoopback == 0 || d.Flags&net.FlagUp == 0 {
			continue
		}
		m, err := OpenMembership(netip.MustParseAddr("239.1.1.1"), d.Index)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.Join(), m.Join(), m.Leave(), m.Leave(), m.Join(), m.Close()); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
}
