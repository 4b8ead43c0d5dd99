package cli

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weftnet/weft/internal/flannel/embedded"
	"github.com/weftnet/weft/internal/flannel/iface"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// optionalURL is a switch that may be given a URL.
type optionalURL string

func (u *optionalURL) String() string   { return string(*u) }
func (u *optionalURL) IsBoolFlag() bool { return true }

func (u *optionalURL) Set(s string) error {
	switch s {
	case "true":
		s = embedded.DefaultURL
	case "false":
		s = ""
	}
	*u = optionalURL(s)
	return nil
}

// unserved is a flag that is known and not served.
type unserved struct {
	of        *agentFlags
	name, why string
}

func (u unserved) String() string   { return "" }
func (u unserved) IsBoolFlag() bool { return true } // it needs no value to be refused

func (u unserved) Set(string) error {
	u.of.refusal = usagef("--%s is not served: %s", u.name, u.why)
	return u.of.refusal
}

// choice checks what is said of the interface.
func (f *agentFlags) choice() (c iface.Choice, err error) {
	c.Ifaces = f.ifaces
	for _, text := range f.regexes {
		re, err := regexp.Compile(text)
		if err != nil {
			return c, usagef("--iface-regex=%s: %v", text, err)
		}
		c.Regexes = append(c.Regexes, re)
	}
	if c.CanReach, err = optionalAddr("iface-can-reach", f.canReach, netip.Addr.IsValid, "an IP address"); err != nil {
		return c, err
	}
	if c.Public, err = optionalAddr("public-ip", f.public, netip.Addr.Is4, "an IPv4 address"); err != nil {
		return c, err
	}
	c.Public6, err = optionalAddr("public-ipv6", f.public6, netip.Addr.Is6, "an IPv6 address")
	return c, err
}

func optionalAddr(name, text string, fits func(netip.Addr) bool, wanted string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !fits(a) {
		return a, usagef("--%s=%s: wanted is %s", name, text, wanted)
	}
	return a, nil
}

func inRange(name string, n, lo, hi int) error {
	if n < lo || n > hi {
		return usagef("--%s=%d: wanted is a number from %d to %d", name, n, lo, hi)
	}
	return nil
}

// stores says where the store in this process is, if there is one.
func (f *agentFlags) stores(runDir string) (embedded.Options, error) {
	o := embedded.Options{URL: f.embedded, Dir: f.embeddedDir}
	if o.URL == "" {
		if o.Dir != "" {
			return o, usagef("--embedded-etcd-dir=%s: there is no --embedded-etcd beside it", o.Dir)
		}
		return o, nil
	}
	if o.Dir == "" {
		o.Dir = filepath.Join(runDir, "etcd")
	}
	if err := o.Check(); err != nil {
		return o, usagef("%v", err)
	}
	return o, nil
}

func splitList(text string) (parts []string) {
	for p := range strings.SplitSeq(text, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}

func oneOf(name, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usagef("--%s=%s: allowed are %s", name, value, strings.Join(allowed, ", "))
}
