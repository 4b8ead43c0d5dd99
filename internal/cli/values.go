package cli

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// number reads a value between lo and hi, written as C writes numbers: 0x for
// hexadecimal, a leading 0 for octal.
func (c *cursor) number(what string, lo, hi uint64) (uint64, error) {
	shape := fmt.Sprintf("%s, %d-%d", what, lo, hi)
	v, err := c.value(shape)
	if err != nil {
		return 0, err
	}
	n, ok := parseNumber(v, hi)
	if !ok || n < lo {
		return 0, c.wrong(v, shape)
	}
	return n, nil
}

// parseNumber reads what strtoul does with base 0, up to hi and without signs.
func parseNumber(s string, hi uint64) (uint64, bool) {
	digits, base := s, 10
	if rest, ok := cutHex(s); ok {
		digits, base = rest, 16
	} else if len(s) > 1 && s[0] == '0' {
		digits, base = s[1:], 8
	}
	n, err := strconv.ParseUint(digits, base, 64)
	return n, err == nil && n <= hi
}

func cutHex(s string) (string, bool) {
	if rest, ok := strings.CutPrefix(s, "0x"); ok {
		return rest, true
	}
	return strings.CutPrefix(s, "0X")
}

// choice reads a value that is one of allowed.
func (c *cursor) choice(allowed ...string) (string, error) {
	shape := strings.Join(allowed, "|")
	v, err := c.value(shape)
	if err != nil {
		return "", err
	}
	for _, a := range allowed {
		if v == a {
			return v, nil
		}
	}
	return "", c.wrong(v, shape)
}

// unicast reads the address of one host; 0.0.0.0 and :: are let through.
func (c *cursor) unicast() (netip.Addr, error) {
	const shape = "an IPv4 or IPv6 address of one host, such as 192.0.2.1 or 2001:db8::1"
	v, err := c.value(shape)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := netip.ParseAddr(v)
	switch {
	case err != nil || addr.IsMulticast():
		return netip.Addr{}, c.wrong(v, shape)
	}
	return addr, c.plain(v, addr)
}

// mac reads the address of one Ethernet station and returns it in colon form.
// As in iproute2 a leading zero of each byte may be left out.
func (c *cursor) mac() (string, error) {
	const shape = "a unicast MAC address that is not zero, such as 02:00:00:00:00:01"
	v, err := c.value(shape)
	if err != nil {
		return "", err
	}
	addr, ok := parseMAC(v)
	if !ok || addr[0]&1 != 0 || bytes.Equal(addr, make([]byte, 6)) {
		return "", c.wrong(v, shape)
	}
	return addr.String(), nil
}

func parseMAC(s string) (net.HardwareAddr, bool) {
	parts := strings.Split(s, ":")
	addr := make(net.HardwareAddr, 0, len(parts))
	for _, p := range parts {
		b, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) > 2 {
			return nil, false
		}
		addr = append(addr, byte(b))
	}
	return addr, len(addr) == 6
}

const nameShape = "1 to 15 bytes without space, `/`, `:` and `%`, and neither `.` nor `..`"

// deviceName reads the name of a network device.
func (c *cursor) deviceName() (string, error) {
	v, err := c.value(nameShape)
	if err != nil {
		return "", err
	}
	if !validName(v) {
		return "", c.wrong(v, nameShape)
	}
	return v, nil
}

// validName follows the kernel's dev_valid_name; % would be taken as a
// pattern for a number.
func validName(name string) bool {
	return len(name) >= 1 && len(name) <= 15 && name != "." && name != ".." &&
		!strings.ContainsAny(name, "/:% \t\n\v\f\r")
}
