//go:build linux

package lab

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteLines are the lines of `ip route` of a family, sorted. Of IPv6 they are
// without those that the kernel makes by itself, and without the metric, which
// each has there.
func (h *Host) RouteLines(family int) ([]string, error) {
	routes, err := h.nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	var lines []string
	for i := range routes {
		if family == unix.AF_INET6 && routes[i].Protocol == unix.RTPROT_KERNEL {
			continue
		}
		line, err := h.routeLine(&routes[i])
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines, nil
}

func (h *Host) routeLine(r *netlink.Route) (string, error) {
	link, err := h.nl.LinkByIndex(r.LinkIndex)
	if err != nil {
		return "", err
	}
	line := "default"
	if r.Dst != nil && !prefixOf(r.Dst).Addr().IsUnspecified() {
		line = prefixOf(r.Dst).String()
	}
	add := func(given bool, format string, args ...any) {
		if given {
			line += fmt.Sprintf(format, args...)
		}
	}
	add(r.Gw != nil, " via %s", r.Gw)
	add(true, " dev %s", link.Attrs().Name)
	add(r.Protocol == unix.RTPROT_KERNEL, " proto kernel")
	add(r.Protocol == unix.RTPROT_STATIC, " proto static")
	add(r.Scope == netlink.SCOPE_LINK, " scope link")
	add(r.Src != nil, " src %s", r.Src)
	add(r.Priority != 0 && r.Family == unix.AF_INET, " metric %d", r.Priority)
	add(r.Flags&unix.RTNH_F_ONLINK != 0, " onlink")
	return line, nil
}
