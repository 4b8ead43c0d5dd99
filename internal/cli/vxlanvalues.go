package cli

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/weftnet/weft/dataplane"
)

// ttl reads an outer TTL, 0 for the route's, or inherit.
func (c *cursor) ttl() (n uint8, inherit bool, err error) {
	const shape = "auto, inherit or 0-255 (0 is auto)"
	v, err := c.value(shape)
	switch {
	case err != nil:
		return 0, false, err
	case v == "auto":
		return 0, false, nil
	case v == "inherit":
		return 0, true, nil
	}
	hops, ok := parseNumber(v, 255)
	if !ok {
		return 0, false, c.wrong(v, shape)
	}
	return uint8(hops), false, nil
}

// tos reads a hexadecimal number with or without 0x, as iproute2 does. The
// kernel takes 1 to mean inherit.
func (c *cursor) tos() (n uint8, inherit bool, err error) {
	const shape = "inherit or a hexadecimal number, 0-ff"
	v, err := c.value(shape)
	if err != nil {
		return 0, false, err
	}
	if v == "inherit" {
		return 0, true, nil
	}
	digits, _ := cutHex(v)
	bits, err := strconv.ParseUint(digits, 16, 8)
	if err != nil {
		return 0, false, c.wrong(v, shape)
	}
	if bits == 1 {
		return 0, true, nil
	}
	return uint8(bits), false, nil
}

func (c *cursor) df() (dataplane.DFMode, error) {
	v, err := c.choice(string(dataplane.DFUnset), string(dataplane.DFSet), string(dataplane.DFInherit))
	return dataplane.DFMode(v), err
}

func (c *cursor) vni() (uint32, error) {
	n, err := c.number("a VNI", 0, dataplane.MaxVNI)
	return uint32(n), err
}

func (c *cursor) flowLabel() (uint32, error) {
	n, err := c.number("a flow label", 0, 1<<20-1)
	return uint32(n), err
}

// port reads a UDP port, 0 for the default.
func (c *cursor) port() (uint16, error) {
	n, err := c.number("a UDP port", 0, 65535)
	return uint16(n), err
}

// sourcePorts reads the half-open range [low, high).
func (c *cursor) sourcePorts() (low, high uint16, err error) {
	lo, err := c.number("the lowest UDP port", 0, 65535)
	if err != nil {
		return 0, 0, err
	}
	hi, err := c.number("the port above the highest", 0, 65535)
	if err != nil {
		return 0, 0, err
	}
	if lo > hi {
		return 0, 0, usagef("`%s %d %d` is refused: srcport: minimum %[2]d above maximum %[3]d; allowed is MIN up to MAX, 0-65535", c.word, lo, hi)
	}
	return uint16(lo), uint16(hi), nil
}

// ageing reads a lifetime in seconds; 0 and none are the default.
func (c *cursor) ageing() (uint32, error) {
	return c.numberOr("none", "a lifetime in seconds, 0-4294967295 (0 and none are the default, 300)")
}

// addressLimit reads how many entries a table may have, 0 for any number.
func (c *cursor) addressLimit() (uint32, error) {
	return c.numberOr("unlimited", "a number of entries, 0-4294967295, or unlimited (also 0)")
}

// numberOr reads a number of 32 bits, or the word that stands for 0.
func (c *cursor) numberOr(zero, shape string) (uint32, error) {
	v, err := c.value(shape)
	if err != nil || v == zero {
		return 0, err
	}
	n, ok := parseNumber(v, 1<<32-1)
	if !ok {
		return 0, c.wrong(v, shape)
	}
	return uint32(n), nil
}

// remote reads the address of one host and tells what a group needs.
func (c *cursor) remote() (netip.Addr, error) {
	if len(c.words) > 0 && isMulticast(c.words[0]) {
		return netip.Addr{}, usagef("`remote %s` is refused: allowed is the address of one host; a multicast address goes with `group`: write `group %[1]s dev IF`", c.words[0])
	}
	return c.unicast()
}

// group reads a multicast address.
func (c *cursor) group() (netip.Addr, error) {
	const shape = "a multicast address, 224.0.0.0/4 or ff00::/8"
	v, err := c.value(shape)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := netip.ParseAddr(v)
	switch {
	case err != nil:
		return netip.Addr{}, c.wrong(v, shape)
	case addr.Zone() != "" || addr.Is4In6():
		return netip.Addr{}, c.plain(v, addr)
	case !addr.IsMulticast():
		return netip.Addr{}, usagef("`%s %s` is refused: allowed is %s; one host goes with `remote`: write `remote %[2]s`", c.word, v, shape)
	}
	return addr, nil
}

func isMulticast(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.IsMulticast()
}

// plain refuses an address with a zone or inside another one and says how to
// write it. It returns nil for any other.
func (c *cursor) plain(v string, addr netip.Addr) error {
	switch {
	case addr.Zone() != "":
		return c.wrong(v, fmt.Sprintf("an address without a zone: write `%s` and `dev %s`", addr.WithZone(""), addr.Zone()))
	case addr.Is4In6():
		return c.wrong(v, fmt.Sprintf("the IPv4 address itself: write `%s`", addr.Unmap()))
	}
	return nil
}
