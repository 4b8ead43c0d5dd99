package dataplane

import (
	"net/netip"
	"testing"
	"time"
)

// answered counts how many of n packets from each host in turn are answered,
// one every step, from a moment on.
func answered(l *icmpLimit, from time.Duration, n int, step time.Duration, hosts int) (count int) {
	for i := range n {
		host := netip.AddrFrom4([4]byte{10, 0, byte(i % hosts >> 8), byte(i % hosts)})
		if l.allows(host, from+time.Duration(i)*step) {
			count++
		}
	}
	return count
}

func TestICMPLimit(t *testing.T) {
	for name, c := range map[string]struct {
		n     int
		step  time.Duration
		hosts int
		want  int
	}{
		"one host, at once":        {100, 0, 1, 6},
		"one host, over a second":  {101, 10 * time.Millisecond, 1, 7},
		"one host, once a second":  {100, time.Second, 1, 100},
		"many hosts, at once":      {1000, 0, 500, 50},
		"many hosts, in a second":  {10_000, 100 * time.Microsecond, 10_000, 1049},
		"more than are remembered": {1 << 15, time.Millisecond, 1 << 15, 1 << 15},
	} {
		if got := answered(&icmpLimit{}, time.Hour, c.n, c.step, c.hosts); got != c.want {
			t.Errorf("%s: %d of %d are answered, want %d", name, got, c.n, c.want)
		}
	}
	// Whoever has used up its own takes none of the others'.
	var l icmpLimit
	answered(&l, time.Hour, 1000, 0, 1)
	if got := answered(&l, time.Hour, 2*44, 0, 44); got != 44 {
		t.Errorf("%d more are answered, want the 44 that are left for all", got)
	}
	// Tokens come back, and no more than there were.
	if got := answered(&l, 2*time.Hour, 100, 0, 1); got != 6 {
		t.Errorf("%d are answered an hour later, want 6", got)
	}
}

func TestSourcesAmong(t *testing.T) {
	addr := netip.MustParseAddr
	for _, c := range []struct {
		have   []netip.Addr
		v4, v6 netip.Addr
	}{
		{nil, netip.Addr{}, netip.Addr{}},
		{[]netip.Addr{addr("fe80::1"), addr("10.1.2.0"), addr("10.1.2.1"), addr("fd00::1"), addr("fd00::2")}, addr("10.1.2.0"), addr("fd00::1")},
		{[]netip.Addr{addr("fd00::1"), addr("fe80::1")}, netip.Addr{}, addr("fd00::1")},
		{[]netip.Addr{addr("fe80::1")}, netip.Addr{}, addr("fe80::1")},
	} {
		if v4, v6 := sourcesAmong(c.have); v4 != c.v4 || v6 != c.v6 {
			t.Errorf("%v: %v and %v, want %v and %v", c.have, v4, v6, c.v4, c.v6)
		}
	}
}
