// Package iface finds the interface by which a node reaches the others of a
// flannel network, by the rules of flanneld's flags.
package iface

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/weftnet/weft/internal/flannel/backend"
)

// Choice is what the flags say. The zero value is the interface of the default
// route.
type Choice struct {
	Ifaces   []string         // --iface: names or addresses, of which the first that fits counts
	Regexes  []*regexp.Regexp // --iface-regex: tried behind these, each on all addresses and then on all names
	CanReach netip.Addr       // --iface-can-reach: tried last

	Public, Public6 netip.Addr // --public-ip, --public-ipv6: what the lease says; the zero Addr for the interface's own
}

// Select looks at the caller's network namespace. With v6 the interface must
// have addresses of both families.
func (c Choice) Select(v6 bool) (backend.Node, error) {
	h, err := look()
	if err != nil {
		return backend.Node{}, fmt.Errorf("list the interfaces: %w", err)
	}
	h.v6 = v6
	n, err := c.find(h)
	if err != nil {
		return backend.Node{}, err
	}
	n.Public, n.Public6 = n.Addr, n.Addr6
	if c.Public.IsValid() {
		n.Public = c.Public
	}
	if c.Public6.IsValid() && v6 {
		n.Public6 = c.Public6
	}
	return n, nil
}

func (c Choice) find(h *host) (backend.Node, error) {
	switch {
	case len(c.Ifaces) > 0 || len(c.Regexes) > 0 || c.CanReach.IsValid():
		return c.named(h)
	case c.Public.IsValid():
		return c.ofPublic(h)
	}
	return h.ofDefaultRoute()
}

// named tries one flag after the other. All that was wrong is told if none of
// them finds an interface.
func (c Choice) named(h *host) (backend.Node, error) {
	var wrong []error
	try := func(flag string, find func() (backend.Node, error)) (n backend.Node, ok bool) {
		n, err := find()
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", flag, err))
		}
		return n, err == nil
	}
	for _, i := range c.Ifaces {
		if n, ok := try("--iface="+i, func() (backend.Node, error) { return h.ofIface(i) }); ok {
			return n, nil
		}
	}
	for _, re := range c.Regexes {
		if n, ok := try("--iface-regex="+re.String(), func() (backend.Node, error) { return h.matching(re) }); ok {
			return n, nil
		}
	}
	if c.CanReach.IsValid() {
		if n, ok := try("--iface-can-reach="+c.CanReach.String(), func() (backend.Node, error) { return h.reaching(c.CanReach) }); ok {
			return n, nil
		}
	}
	return backend.Node{}, fmt.Errorf("no interface is what the flags ask for: %s; this host has %s", sentences(wrong), h)
}

// ofPublic takes a public address that is alone for that of the interface. With
// both families each has to be there.
func (c Choice) ofPublic(h *host) (backend.Node, error) {
	n, err := h.ofAddr(c.Public)
	if err == nil && h.v6 && c.Public6.IsValid() {
		var six backend.Node
		if six, err = h.ofAddr(c.Public6); err == nil && six.Index != n.Index {
			err = fmt.Errorf("%v is on %s, and %v on %s", c.Public, n.Interface, c.Public6, six.Interface)
		}
		n.Addr6 = six.Addr6
	}
	if err != nil {
		return n, fmt.Errorf("--public-ip=%v: %w; behind NAT, name the interface too, with --iface (this host has %s)", c.Public, err, h)
	}
	return n, nil
}

func sentences(errs []error) string {
	return strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; ")
}
