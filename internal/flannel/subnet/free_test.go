package subnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
)

// naive walks over all subnets and compares each with all that is held.
func naive(r netconf.Range, held []netip.Prefix) (free []netip.Prefix) {
	for a := r.Min; len(free) < 100 && a.Compare(r.Max) <= 0; {
		p := netip.PrefixFrom(a, r.SubnetLen)
		if !slices.ContainsFunc(held, p.Overlaps) {
			free = append(free, p)
		}
		for p.Contains(a) {
			a = a.Next()
		}
	}
	return free
}

func TestFreeAgainstNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		cfg := config(t, fmt.Sprintf(`{"Network":"10.0.0.0/18","SubnetLen":%d,"EnableIPv6":true,"IPv6Network":"fc00::/114"}`, 22+r.IntN(6)))
		held := &taken{}
		var list []netip.Prefix
		for range r.IntN(40) {
			a := netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(80)), byte(r.IntN(256))})
			p, _ := a.Prefix(17 + r.IntN(15))
			a6 := netip.AddrFrom16([16]byte{0: 0xfc, 14: byte(r.IntN(80)), 15: byte(r.IntN(256))})
			p6, _ := a6.Prefix(112 + r.IntN(16))
			held.add(lease.Subnet{IPv4: p, IPv6: p6})
			list = append(list, p, p6)
		}
		for _, family := range []netconf.Range{cfg.IPv4, cfg.IPv6} {
			if got, want := held.free(family), naive(family, list); !slices.Equal(got, want) {
				t.Fatalf("%+v without %v:\n%v\nwant %v", family, list, got, want)
			}
		}
	}
}

// A lease that covers more subnets than could ever be counted is leapt over.
func TestFreeLeaps(t *testing.T) {
	cfg := config(t, `{"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/8","IPv6SubnetLen":64}`)
	held := &taken{}
	held.add(lease.Subnet{IPv4: pfx("10.0.0.0/17"), IPv6: pfx("fc00::/9")})
	s, err := held.pick(cfg)
	if err != nil || !pfx("10.0.128.0/17").Overlaps(s.IPv4) || !pfx("fc80::/9").Overlaps(s.IPv6) {
		t.Error(s, err)
	}
	held.add(lease.Subnet{IPv6: pfx("::/0")})
	if s, err := held.pick(cfg); !errors.Is(err, ErrFull) {
		t.Error(s, err)
	}
}
