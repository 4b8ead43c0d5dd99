package iface

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/dump"
)

// host is what the network namespace has.
type host struct {
	links []*link // by index
	v6    bool    // IPv6 is wanted as well
}

type link struct {
	*netlink.LinkAttrs
	addrs []netip.Addr // those that may be used, the best first
}

func look() (*host, error) {
	links, err := dump.Consistent(netlink.LinkList)
	if err != nil {
		return nil, err
	}
	addrs, err := dump.Consistent(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	h := &host{}
	for _, l := range links {
		attrs := l.Attrs()
		h.links = append(h.links, &link{LinkAttrs: attrs, addrs: usable(addrs, attrs.Index)})
	}
	return h, nil
}

// String lists the interfaces with their addresses.
func (h *host) String() string {
	var all []string
	for _, l := range h.links {
		all = append(all, l.String())
	}
	return strings.Join(all, ", ")
}

// String is the name with the addresses in brackets.
func (l *link) String() string {
	if len(l.addrs) == 0 {
		return l.Name
	}
	return l.Name + " (" + strings.Trim(fmt.Sprint(l.addrs), "[]") + ")"
}

// first returns the best address of a family, the zero Addr if there is none.
func (l *link) first(v6 bool) netip.Addr {
	for _, a := range l.addrs {
		if a.Is6() == v6 {
			return a
		}
	}
	return netip.Addr{}
}

// node is the interface with the given address, which may be zero, and the best
// of each family that was not given.
func (h *host) node(l *link, given netip.Addr) (backend.Node, error) {
	n := backend.Node{Interface: l.Name, Index: l.Index, MTU: l.MTU, Addr: l.first(false)}
	if h.v6 {
		n.Addr6 = l.first(true)
	}
	switch {
	case given.Is4():
		n.Addr = given
	case given.Is6() && h.v6:
		n.Addr6 = given
	}
	switch {
	case !n.Addr.IsValid():
		return n, fmt.Errorf("interface %s has no IPv4 address", l.Name)
	case h.v6 && !n.Addr6.IsValid():
		return n, fmt.Errorf("interface %s has no IPv6 address, which EnableIPv6 of the config needs", l.Name)
	case n.MTU == 0:
		return n, fmt.Errorf("interface %s has no MTU", l.Name)
	}
	return n, nil
}

// ofIface takes a name or an address.
func (h *host) ofIface(word string) (backend.Node, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		return h.ofAddr(a)
	}
	for _, l := range h.links {
		if l.Name == word {
			return h.node(l, netip.Addr{})
		}
	}
	return backend.Node{}, errors.New("there is no such interface")
}

func (h *host) ofAddr(a netip.Addr) (backend.Node, error) {
	for _, l := range h.links {
		for _, has := range l.addrs {
			if has == a {
				return h.node(l, a)
			}
		}
	}
	return backend.Node{}, errors.New("no interface of this host has the address")
}

// matching tries the addresses of all interfaces before any name.
func (h *host) matching(re *regexp.Regexp) (backend.Node, error) {
	for _, l := range h.links {
		for _, a := range l.addrs {
			if (a.Is4() || h.v6) && re.MatchString(a.String()) {
				return h.node(l, a)
			}
		}
	}
	for _, l := range h.links {
		if re.MatchString(l.Name) {
			return h.node(l, netip.Addr{})
		}
	}
	return backend.Node{}, errors.New("no address and no name matches")
}
