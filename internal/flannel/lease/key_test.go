package lease

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func pfx(s string) netip.Prefix {
	if s == "" {
		return netip.Prefix{}
	}
	return netip.MustParsePrefix(s)
}

func TestParseKey(t *testing.T) {
	for key, want := range map[string][2]string{
		"10.5.52.0-24": {"10.5.52.0/24"},
		"/coreos.com/network/subnets/10.5.52.0-24":               {"10.5.52.0/24"},
		"/coreos.com/network/subnets/172.7.21.0-24":              {"172.7.21.0/24"},
		"10.1.2.0-24&fc00:0:0:1::-64":                            {"10.1.2.0/24", "fc00:0:0:1::/64"},
		"/atomic.io/network/subnets/10.1.2.0-24&fc00:0:0:1::-64": {"10.1.2.0/24", "fc00:0:0:1::/64"},
		"10.1.2.0-024":            {"10.1.2.0/24"},
		"10.1.2.9-24":             {"10.1.2.0/24"},
		"0.0.0.0-0":               {"0.0.0.0/0"},
		"x10.1.2.0-31":            {"10.1.2.0/31"},
		"10.1.2.0-24&10.1.3.0-24": {"10.1.3.0/24"},
	} {
		got, ok := ParseKey(key)
		if !ok || got != (Subnet{pfx(want[0]), pfx(want[1])}) {
			t.Errorf("%s: %v %v", key, got, ok)
		}
	}
	// Those of flannel's own tests, and the lengths that it does not know.
	for _, key := range []string{
		"", "10", "10.12.13.0", "10.12.13-24", "10.12.13.300-24", "10.12.13.0-24hi", "&2001::-56", "10.12.13.0-24&:12:13:-56",
		"10.12.13.0-24&20011::-56", "10.12.13.0-24&2001-56", "10.12.13.0-24&2001::", "10.12.13.0-24&2001::-56hi",
		"10.12.13.0-32", "10.12.13.0-24&2001::-128", "10.12.13.0-24&2001:DB8::-64", "10.12.13.0-24/", "10.12.13.0-99999999999999999999",
		"1010.12.13.0-24", "10.012.13.0-24", "10x12y13z0-24",
	} {
		if got, ok := ParseKey(key); ok {
			t.Errorf("%q is taken for %v", key, got)
		}
	}
}

func TestKey(t *testing.T) {
	for want, s := range map[string]Subnet{
		"10.1.2.0-24":                 {IPv4: pfx("10.1.2.0/24")},
		"10.1.2.0-24&fc00:0:0:1::-64": {pfx("10.1.2.0/24"), pfx("fc00:0:0:1::/64")},
		"10.1.2.0-24&2001:db8::-56":   {pfx("10.1.2.0/24"), pfx("2001:db8:0:0::/56")},
	} {
		if got := s.Key(); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	a := Subnet{pfx("10.1.2.0/24"), pfx("fc00:0:0:1::/64")}
	for _, c := range []struct {
		b    Subnet
		want bool
	}{
		{Subnet{IPv4: pfx("10.1.2.128/25")}, true},
		{Subnet{IPv4: pfx("10.0.0.0/8")}, true},
		{Subnet{IPv4: pfx("10.1.3.0/24")}, false},
		{Subnet{pfx("10.1.3.0/24"), pfx("fc00::/48")}, true},
		{Subnet{}, false},
	} {
		if a.Overlaps(c.b) != c.want || c.b.Overlaps(a) != c.want {
			t.Errorf("%v and %v: not %v", a, c.b, c.want)
		}
	}
}

// flannelPattern is the expression in the documents of flannel, whose later
// dots stand for any character, with net's parser behind it.
var flannelPattern = regexp.MustCompile(`(\d+\.\d+.\d+.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$`)

func flannelParses(key string) (v4, v6 string, ok bool) {
	m := flannelPattern.FindStringSubmatch(key)
	if m == nil {
		return "", "", false
	}
	network := func(addr, length string, bits, size int) string {
		ip := net.ParseIP(addr)
		n, err := strconv.ParseUint(length, 10, bits)
		if ip == nil || err != nil {
			return ""
		}
		if size == 32 {
			ip = ip.To4()
		}
		mask := net.CIDRMask(int(n), size)
		return (&net.IPNet{IP: ip.Mask(mask), Mask: mask}).String()
	}
	if v4 = network(m[1], m[2], 5, 32); v4 == "" {
		return "", "", false
	}
	if m[3] != "" {
		v6 = network(m[3], m[4], 7, 128)
	}
	return v4, v6, m[3] == "" || v6 != ""
}

// A key is read as flannel reads it, and what is read can be written again.
func FuzzParseKey(f *testing.F) {
	for _, key := range []string{
		"10.5.52.0-24", "10.1.2.0-24&fc00:0:0:1::-64", "10.1.2.0-24&fc00::1-64", "a/1.2.3.4.5-9", "10.12x13.0-24", "9.1.10.1.2.0-24",
		"10.12345-24", "5.6x10.1.2.0-24", "10.1.2.0-24&::ffff-96",
	} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		got, ok := ParseKey(key)
		v4, v6, want := flannelParses(key)
		if ok != want {
			t.Fatalf("%q: %v %v, flannel: %v", key, got, ok, want)
		}
		if !ok || strings.Contains(v6, ".") || got.IPv6.Addr().Is4In6() {
			return
		}
		if got.IPv4.String() != v4 || (v6 != "" || got.IPv6.IsValid()) && got.IPv6.String() != v6 {
			t.Fatalf("%q: %v, flannel: %v %v", key, got, v4, v6)
		}
		if again, ok := ParseKey(got.Key()); !ok || again != got {
			t.Fatalf("%q: %v is written %q, which is read %v %v", key, got, got.Key(), again, ok)
		}
	})
}
