package subnet

import (
	"errors"
	"math/rand/v2"
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
)

// ErrFull is returned when every subnet of the network is taken.
var ErrFull = errors.New("out of subnets: every one between SubnetMin and SubnetMax of the config is leased")

// choices is among how many free subnets one is picked at random, so that nodes
// that start together seldom pick the same.
const choices = 100

// taken is the set of all ranges that somebody holds, of whatever length.
type taken struct{ ranges bart.Lite }

func (t *taken) add(s lease.Subnet) {
	for _, p := range []netip.Prefix{s.IPv4, s.IPv6} {
		if p.IsValid() {
			t.ranges.Insert(p)
		}
	}
}

func (t *taken) overlaps(s lease.Subnet) bool {
	return s.IPv4.IsValid() && t.ranges.OverlapsPrefix(s.IPv4) || s.IPv6.IsValid() && t.ranges.OverlapsPrefix(s.IPv6)
}

// pick returns a subnet that is free in both families.
func (t *taken) pick(cfg *netconf.Config) (s lease.Subnet, err error) {
	if s.IPv4, err = t.pickFrom(cfg.IPv4); err != nil || !cfg.IPv6.Enabled() {
		return s, err
	}
	s.IPv6, err = t.pickFrom(cfg.IPv6)
	return s, err
}

func (t *taken) pickFrom(r netconf.Range) (netip.Prefix, error) {
	free := t.free(r)
	if len(free) == 0 {
		return netip.Prefix{}, ErrFull
	}
	return free[rand.IntN(len(free))], nil
}

// free returns the first subnets of a range that nobody holds a part of. It
// leaps over what is held by something larger, which may hold more subnets
// than can be counted.
func (t *taken) free(r netconf.Range) (free []netip.Prefix) {
	for base := r.Min; base.IsValid() && !r.Max.Less(base) && len(free) < choices; {
		p := netip.PrefixFrom(base, r.SubnetLen)
		if around, ok := t.ranges.LookupPrefixLPM(p); ok {
			base = netconf.After(around)
			continue
		}
		if !t.ranges.OverlapsPrefix(p) {
			free = append(free, p)
		}
		base = netconf.After(p)
	}
	return free
}
