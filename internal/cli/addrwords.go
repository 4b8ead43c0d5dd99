package cli

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// newAddress is what the words of `weft addr add` and its like say.
type newAddress struct {
	dev       string
	prefix    netip.Prefix
	peer      netip.Prefix
	broadcast string // an address, + or -
	scope     *uint64
	label     string
	flags     int
}

var addressWords = grammar[newAddress]{
	words: map[string]word[newAddress]{
		"local":         {"local", func(c *cursor, into *newAddress) (err error) { into.prefix, err = c.prefix(); return err }},
		"peer":          {"peer", func(c *cursor, into *newAddress) (err error) { into.peer, err = c.prefix(); return err }},
		"dev":           {"dev", func(c *cursor, into *newAddress) (err error) { into.dev, err = c.deviceName(); return err }},
		"brd":           {"brd", takeBroadcast},
		"scope":         {"scope", takeScope},
		"label":         {"label", func(c *cursor, into *newAddress) (err error) { into.label, err = c.value("a label"); return err }},
		"nodad":         addressFlag("nodad", unix.IFA_F_NODAD),
		"noprefixroute": addressFlag("noprefixroute", unix.IFA_F_NOPREFIXROUTE),
	},
	aliases: map[string]string{"broadcast": "brd", "remote": "peer"},
	refused: reasons("is not served here: use `ip addr`", "anycast metric home mngtmpaddr autojoin optimistic valid_lft preferred_lft proto temporary tentative"),
	bare:    bareAddress,
}

func addressFlag(name string, flag int) word[newAddress] {
	return word[newAddress]{name, func(_ *cursor, into *newAddress) error {
		into.flags |= flag
		return nil
	}}
}

const prefixShape = "an address with the length of its prefix, such as 192.0.2.1/24"

func (c *cursor) prefix() (netip.Prefix, error) {
	v, err := c.value(prefixShape)
	if err != nil {
		return netip.Prefix{}, err
	}
	p, ok := parsePrefix(v)
	if !ok {
		return netip.Prefix{}, c.wrong(v, prefixShape)
	}
	return p, nil
}

// bareAddress takes the first word that is no other as the address.
func bareAddress(c *cursor, into *newAddress) (bool, error) {
	if into.prefix.IsValid() {
		return false, nil
	}
	p, ok := parsePrefix(c.word)
	if !ok {
		return true, usagef("%q is neither a word of this command nor %s", c.word, prefixShape)
	}
	into.prefix = p
	return true, nil
}

// takeBroadcast takes an address, + for that of the prefix, or - for none.
func takeBroadcast(c *cursor, into *newAddress) error {
	const shape = "an IPv4 address, + (that of the prefix) or -"
	v, err := c.value(shape)
	if err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(v); v != "+" && v != "-" && (err != nil || !addr.Is4()) {
		return c.wrong(v, shape)
	}
	into.broadcast = v
	return nil
}

// scopes are those of rtnetlink(7).
var scopes = map[string]uint64{"global": unix.RT_SCOPE_UNIVERSE, "site": unix.RT_SCOPE_SITE, "link": unix.RT_SCOPE_LINK, "host": unix.RT_SCOPE_HOST}

func takeScope(c *cursor, into *newAddress) error {
	const shape = "global, site, link, host or 0-255"
	v, err := c.value(shape)
	if err != nil {
		return err
	}
	n, ok := scopes[v]
	if !ok {
		n, ok = parseNumber(v, 255)
	}
	if !ok {
		return c.wrong(v, shape)
	}
	into.scope = &n
	return nil
}

// readAddress reads the words of `weft addr DO`.
func readAddress(do string, words []string) (*newAddress, error) {
	var a newAddress
	if err := addressWords.read(&cursor{words: words}, &a); err != nil {
		return nil, err
	}
	if !a.prefix.IsValid() {
		return nil, usagef("no address given: `addr %s` needs %s", do, prefixShape)
	}
	if a.dev == "" {
		return nil, usagef("no device given: `addr %s` needs `dev NAME`", do)
	}
	if a.peer.IsValid() && a.peer.Addr().Is4() != a.prefix.Addr().Is4() {
		return nil, usagef("`peer %s` does not go with `%s`: both must be IPv4 or both IPv6", a.peer, a.prefix)
	}
	if a.broadcast != "" && a.prefix.Addr().Is6() {
		return nil, usagef("`brd %s` is refused: it is allowed with an IPv4 address only; leave it out", a.broadcast)
	}
	return &a, nil
}

// address is what is asked of the kernel. As with ip there is no broadcast
// address unless one was asked for; the library would add one.
func (a *newAddress) address() *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(a.prefix), Label: a.label, Flags: a.flags, Broadcast: net.IPv4zero.To4()}
	if a.peer.IsValid() {
		addr.Peer = ipNet(a.peer)
	}
	switch {
	case a.scope != nil:
		addr.Scope = int(*a.scope)
	case a.prefix.Addr().Is4() && a.prefix.Addr().IsLoopback():
		addr.Scope = unix.RT_SCOPE_HOST
	}
	switch a.broadcast {
	case "", "-":
	case "+":
		addr.Broadcast = lastOf(a.prefix)
	default:
		addr.Broadcast = net.ParseIP(a.broadcast).To4()
	}
	return addr
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// lastOf is the address of an IPv4 prefix with all host bits set.
func lastOf(p netip.Prefix) net.IP {
	ip, mask := p.Addr().AsSlice(), net.CIDRMask(p.Bits(), 32)
	for i := range ip {
		ip[i] |= ^mask[i]
	}
	return ip
}
