//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

const (
	flannelDevice = "flannel.1"
	reachSize     = 4 << 20
)

// showFlannel shows who reaches whom in a flannel network, and which way.
func showFlannel() error {
	o, err := buildOverlay()
	if err != nil {
		return err
	}
	defer o.close()
	fmt.Printf("\nA flannel network of three hosts, each with `weft agent` and a container behind a bridge; etcd is in user's agent.\n  config %s\n\n", flannelConfig)
	for _, m := range o.members {
		if err := m.show(); err != nil {
			return err
		}
	}
	fmt.Printf("\nWho reaches whom, container to container, the way read from the sender's tables, %d MiB compared byte by byte:\n", reachSize>>20)
	for _, from := range o.members {
		for _, to := range o.members {
			if from == to {
				continue
			}
			if err := showReach(from, to); err != nil {
				return fmt.Errorf("%s → %s: %w", from.name, to.name, err)
			}
		}
	}
	return nil
}

func (m *member) show() error {
	datapath, err := m.vxlan()
	if err != nil {
		return err
	}
	fmt.Printf("  host %-8s %v  containers %-14v %s is vxlan %s", m.name, m.addr.Addr(), m.subnet, flannelDevice, datapath)
	if m.datapath == "auto" && datapath != "kernel" {
		fmt.Print(": this kernel has no vxlan, so that this one is user as well")
	}
	fmt.Println()
	return nil
}

// vxlan is the datapath of the member's device: the kernel's, or weft's TAP.
func (m *member) vxlan() (string, error) {
	l, err := m.host.Netlink().LinkByName(flannelDevice)
	if err != nil {
		return "", fmt.Errorf("host %s: device %s: %w", m.name, flannelDevice, err)
	}
	if l.Type() == "vxlan" {
		return "kernel", nil
	}
	return "user", nil
}

func showReach(from, to *member) error {
	// A peer may have joined this very moment.
	var via string
	err := lab.Eventually(limit, func() (err error) {
		if via, err = from.wayTo(to); err != nil {
			return err
		}
		return from.container.Ping(to.inside, lab.PingOptions{}).Lost()
	})
	if err != nil {
		return err
	}
	r := from.container.Ping(to.inside, lab.PingOptions{Count: 3})
	if err := r.Lost(); err != nil {
		return err
	}
	t, err := lab.Transfer(from.container, to.container, netip.AddrPortFrom(to.inside, 0), reachSize)
	if err != nil {
		return err
	}
	fmt.Printf("  %-7s → %-7s  ping ok %.3f ms, %d bytes ok in %d ms, via %s\n", from.name, to.name,
		float64(slices.Min(r.RTTs).Microseconds())/1000, t.Bytes, t.Duration.Milliseconds(), via)
	return nil
}

// wayTo is how the member sends to a container of another, as its route and,
// if that leads into the overlay, neighbour and FDB entry have it.
func (m *member) wayTo(peer *member) (string, error) {
	routes, err := m.host.Netlink().RouteGet(peer.inside.AsSlice())
	if err != nil || len(routes) == 0 {
		return "", errors.Join(fmt.Errorf("%s has no route to %v", m.name, peer.inside), err)
	}
	r := routes[0]
	l, err := m.host.Netlink().LinkByIndex(r.LinkIndex)
	switch {
	case err != nil:
		return "", err
	case l.Attrs().Name == flannelDevice:
		return m.wayOver(l, r)
	case r.Gw.Equal(peer.addr.Addr().AsSlice()):
		return fmt.Sprintf("direct (route via %v dev %s)", r.Gw, l.Attrs().Name), nil
	}
	return "", fmt.Errorf("%s sends to %v via %v dev %s, which is not %s", m.name, peer.inside, r.Gw, l.Attrs().Name, peer.name)
}

// wayOver follows a route into the overlay to the VTEP.
func (m *member) wayOver(l netlink.Link, r netlink.Route) (string, error) {
	neighbours, err := m.host.Netlink().NeighList(l.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		return "", err
	}
	for _, n := range neighbours {
		if !n.IP.Equal(r.Gw) {
			continue
		}
		datapath, err := m.vxlan()
		if err != nil {
			return "", err
		}
		vtep, err := m.fdb(datapath, n.HardwareAddr.String())
		return fmt.Sprintf("vxlan %s (fdb %v dst %s)", datapath, n.HardwareAddr, vtep), err
	}
	return "", fmt.Errorf("%s has no neighbour %v on %s", m.name, r.Gw, flannelDevice)
}

// fdb looks the VTEP of a MAC up, in the kernel's table or in weft's.
func (m *member) fdb(datapath, mac string) (string, error) {
	var lines []string
	if datapath == "kernel" {
		entries, err := m.host.FDB(flannelDevice)
		if err != nil {
			return "", err
		}
		for i := range entries {
			lines = append(lines, entries[i].Line())
		}
	} else {
		out, err := m.weft().Must("fdb", "show", "dev", flannelDevice)
		if err != nil {
			return "", err
		}
		lines = strings.Split(out, "\n")
	}
	for _, line := range lines {
		words := strings.Fields(line)
		if i := slices.Index(words, "dst"); i > 0 && i+1 < len(words) && words[0] == mac {
			return words[i+1], nil
		}
	}
	return "", fmt.Errorf("%s has no FDB entry for %s", m.name, mac)
}
