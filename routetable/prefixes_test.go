package routetable

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestPrefixes(t *testing.T) {
	s := NewPrefixes(netip.MustParsePrefix("10.1.2.3/16"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32"))
	for addr, want := range map[string]bool{
		"10.1.0.0": true, "10.1.255.255": true, "10.2.0.0": false, "192.0.2.7": true, "192.0.2.6": false,
		"2001:db8:ffff::1": true, "2001:db9::1": false, "0.0.0.0": false, "::": false,
	} {
		if got := s.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if (*Prefixes)(nil).Contains(netip.MustParseAddr("10.1.0.0")) || NewPrefixes().Contains(netip.Addr{}) {
		t.Error("an empty set contains something")
	}
	if !NewPrefixes(netip.MustParsePrefix("0.0.0.0/0")).Contains(netip.MustParseAddr("8.8.8.8")) {
		t.Error("everything does not contain something")
	}
	a := netip.MustParseAddr("10.1.7.7")
	if n := testing.AllocsPerRun(100, func() { s.Contains(a) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// Every prefix is asked by itself.
func TestPrefixesAgainstLoop(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		var list []netip.Prefix
		for range r.IntN(10) {
			a := netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(256)), byte(r.IntN(256))})
			list = append(list, netip.PrefixFrom(a, 8+r.IntN(25)))
		}
		s := NewPrefixes(list...)
		for range 200 {
			a := netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(256)), byte(r.IntN(256))})
			want := false
			for _, p := range list {
				want = want || p.Contains(a)
			}
			if got := s.Contains(a); got != want {
				t.Fatalf("%v in %v: %v", a, list, got)
			}
		}
	}
}
