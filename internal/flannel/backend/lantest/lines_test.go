package lantest

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/flannel/backend/device"
)

// routes are the lines of `ip route`, sorted, but for those of IPv6 that the
// kernel makes by itself.
func (m *machine) routes(family int) []string {
	m.t.Helper()
	read := func() []string {
		lines, err := m.RouteLines(family)
		check(m.t, err)
		return lines
	}
	if family == unix.AF_INET6 {
		return read()
	}
	return m.asIP(read, "route", "show")
}

// asIP returns what read does. Where there is an ip, its lines have to be the
// same; both are read again if something changed in between.
func (m *machine) asIP(read func() []string, args ...string) (lines []string) {
	m.t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		return read()
	}
	soon(m.t, func() error {
		lines = read()
		if ip := m.sorted("ip", args...); !slices.Equal(ip, lines) {
			return fmt.Errorf("ip %s says\n%s\nand this\n%s", strings.Join(args, " "), strings.Join(ip, "\n"), strings.Join(lines, "\n"))
		}
		return nil
	})
	return lines
}

// sorted runs a program and returns its lines, sorted and without blanks at
// their ends.
func (m *machine) sorted(name string, args ...string) []string {
	m.t.Helper()
	out, err := m.Run(nil, name, args...)
	check(m.t, err)
	var lines []string
	for line := range strings.Lines(out.Stdout) {
		lines = append(lines, strings.TrimSpace(line))
	}
	slices.Sort(lines)
	return lines
}

// neighbours are the permanent lines of `ip neigh show dev`, sorted.
func (m *machine) neighbours(dev string, family int) []string {
	m.t.Helper()
	d := m.device(dev)
	return m.asIP(func() (lines []string) {
		found, err := m.Netlink().NeighList(d.Index, family)
		check(m.t, err)
		for _, n := range found {
			if n.State == netlink.NUD_PERMANENT {
				lines = append(lines, fmt.Sprintf("%s lladdr %s PERMANENT", n.IP, n.HardwareAddr))
			}
		}
		slices.Sort(lines)
		return lines
	}, map[int]string{unix.AF_INET: "-4", unix.AF_INET6: "-6"}[family], "neigh", "show", "dev", dev, "nud", "permanent")
}

// fdb are the lines of `bridge fdb show dev`, or of `weft fdb show dev`, sorted.
func (m *machine) fdb(dev string) []string {
	m.t.Helper()
	var lines []string
	if m.device(dev).Kind == "vxlan" {
		found, err := m.FDB(dev)
		check(m.t, err)
		for i := range found {
			lines = append(lines, found[i].Line())
		}
	} else {
		lines = m.must("fdb show dev " + dev)
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

// addresses are those of one family but for the link-local ones.
func (m *machine) addresses(dev string, is func(netip.Addr) bool) []string {
	m.t.Helper()
	var all []string
	for _, p := range m.device(dev).Addresses {
		if is(p.Addr()) && !p.Addr().IsLinkLocalUnicast() {
			all = append(all, p.String())
		}
	}
	return all
}

// addOnlink makes `ip route replace P via BASE dev DEV onlink`.
func (m *machine) addOnlink(dev string, p netip.Prefix) error {
	return m.Netlink().RouteReplace(&netlink.Route{
		LinkIndex: m.device(dev).Index, Dst: device.IPNet(p), Gw: p.Addr().AsSlice(), Flags: int(netlink.FLAG_ONLINK),
	})
}
