package cli

import (
	"net/netip"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/routetable"
)

// newRouteChange is what the words of `weft route add` and its like say.
type newRouteChange struct {
	dev    string
	hasDst bool
	change dataplane.RouteChange
}

var routeWords = grammar[newRouteChange]{
	words: map[string]word[newRouteChange]{
		"to":     {"PREFIX", takeRoutePrefix},
		"dev":    {"dev", func(c *cursor, into *newRouteChange) (err error) { into.dev, err = c.deviceName(); return err }},
		"via":    {"via", func(c *cursor, into *newRouteChange) (err error) { into.change.Via, err = c.unicast(); return err }},
		"lladdr": {"lladdr", takeRouteMAC},
		"vni":    {"vni", takeRouteVNI},
		"port":   {"port", func(c *cursor, into *newRouteChange) (err error) { into.change.Port, err = c.port(); return err }},
	},
	refused: reasons(
		"is of routes of the kernel: use `ip route`", "src metric preference table proto protocol scope mtu advmss nexthop onlink tos dsfield "+
			"weight nhid encap pref realms error quickack congctl window rtt rttvar ssthresh cwnd initcwnd initrwnd hoplimit features lock ttl-propagate fastopen_no_cookie",
		"is a kind of route that links do not have: packets without a route are refused with an ICMP error", "unicast local broadcast multicast throw "+
			"unreachable prohibit blackhole nat",
	),
	bare: bareRoutePrefix,
}

const routeShape = "a prefix, such as 10.1.2.0/24 or fd00:1::/64, an address, or default"

func takeRoutePrefix(c *cursor, into *newRouteChange) error {
	if into.hasDst {
		return duplicate(into.change.Prefix.String(), c.word)
	}
	v, err := c.value(routeShape)
	if err != nil {
		return err
	}
	return into.setPrefix(c, v)
}

// bareRoutePrefix takes the first word that is no other as the prefix.
func bareRoutePrefix(c *cursor, into *newRouteChange) (bool, error) {
	if into.hasDst {
		return false, nil
	}
	return true, into.setPrefix(c, c.word)
}

// setPrefix takes what `ip route` takes for a prefix.
func (w *newRouteChange) setPrefix(c *cursor, v string) error {
	w.hasDst = true
	if v == "default" || v == "any" || v == "all" {
		w.change.Prefix = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		return nil
	}
	p, ok := parsePrefix(v)
	if !ok {
		if v == c.word {
			return usagef("%q is neither a word of this command nor %s", v, routeShape)
		}
		return c.wrong(v, routeShape)
	}
	if masked := p.Masked(); masked != p {
		return usagef("`%s` is refused: bits are set behind the prefix's length; write `%s`, or `%s` for that one host", v, masked, p.Addr())
	}
	w.change.Prefix = p
	return nil
}

func takeRouteMAC(c *cursor, into *newRouteChange) error {
	v, err := c.mac()
	if err != nil {
		return err
	}
	mac, _ := parseMAC(v)
	into.change.MAC = routetable.MAC(mac)
	return nil
}

func takeRouteVNI(c *cursor, into *newRouteChange) error {
	vni, err := c.vni()
	into.change.VNI = &vni
	return err
}

// readRouteChange reads the words of `weft route OP`. Without an IPv4 way, the
// default route is that of IPv4 all the same: ::/0 is IPv6's.
func readRouteChange(op dataplane.RouteOp, words []string) (*newRouteChange, error) {
	w := newRouteChange{change: dataplane.RouteChange{Op: op}}
	if err := routeWords.read(&cursor{words: words}, &w); err != nil {
		return nil, err
	}
	if !w.hasDst {
		return nil, usagef("no prefix given: `route %s` needs %s", op, routeShape)
	}
	if w.dev == "" {
		return nil, usagef("no link given: `route %s` needs `dev NAME`", op)
	}
	w.change.Via = specified(w.change.Via)
	return &w, nil
}

// routeQuery is what the words of `weft route get` say.
type routeQuery struct {
	dev string
	to  netip.Addr
}

var routeGetWords = grammar[routeQuery]{
	words: map[string]word[routeQuery]{
		"to":  {"IP", func(c *cursor, into *routeQuery) (err error) { into.to, err = c.address(); return err }},
		"dev": {"dev", func(c *cursor, into *routeQuery) (err error) { into.dev, err = c.deviceName(); return err }},
	},
	refused: reasons("of `ip route get` is not served: links look at the destination and nothing else", "from iif oif mark uid ipproto sport dport fibmatch vrf notify connected tos dsfield"),
	bare: func(c *cursor, into *routeQuery) (bool, error) {
		if into.to.IsValid() {
			return false, nil
		}
		addr, err := netip.ParseAddr(c.word)
		if err != nil {
			return true, usagef("%q is neither a word of this command nor an IPv4 or IPv6 address", c.word)
		}
		into.to = addr
		return true, c.plain(c.word, addr)
	},
}

func readRouteQuery(words []string) (*routeQuery, error) {
	var q routeQuery
	if err := routeGetWords.read(&cursor{words: words}, &q); err != nil {
		return nil, err
	}
	if !q.to.IsValid() {
		return nil, usagef("no address given: `route get` needs that of the destination")
	}
	if q.dev == "" {
		return nil, usagef("no link given: `route get` needs `dev NAME`")
	}
	return &q, nil
}
