package cli

import (
	"net/netip"
	"slices"

	"github.com/weftnet/weft/dataplane"
)

// prefixes reads all words ahead that are addresses or prefixes.
func (c *cursor) prefixes() ([]netip.Prefix, error) {
	const shape = "one or more prefixes or addresses, such as 192.0.2.0/24"
	var all []netip.Prefix
	for len(c.words) > 0 {
		p, ok := parsePrefix(c.words[0])
		if !ok {
			break
		}
		if masked := p.Masked(); masked != p {
			return nil, usagef("`%s %s` is refused: bits are set behind the prefix's length; write `%s`, or `%s` for that one host",
				c.word, c.words[0], masked, p.Addr())
		}
		all, c.words = append(all, p), c.words[1:]
	}
	if len(all) > 0 {
		return all, nil
	}
	v, err := c.value(shape)
	if err != nil {
		return nil, err
	}
	return nil, c.wrong(v, shape)
}

// parsePrefix reads a prefix, or an address as the prefix of all its bits.
func parsePrefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, !p.Addr().Is4In6()
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(addr, addr.BitLen()), true
}

// checkSources refuses a list that would let nobody in: a link listens on
// sockets of one family.
func checkSources(c *dataplane.LinkConfig) error {
	if len(c.AllowSources) == 0 || slices.ContainsFunc(c.AllowSources, func(p netip.Prefix) bool { return p.Addr().Is6() == c.IPv6() }) {
		return nil
	}
	return usagef("`allow-sources %s` would refuse everybody: the link's underlay is %s; name the prefixes of its other VTEPs",
		c.AllowSources[0], family(c.IPv6()))
}

func family(six bool) string {
	if six {
		return "IPv6"
	}
	return "IPv4"
}
