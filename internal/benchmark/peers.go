//go:build linux

package benchmark

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// Peopled are the paths that show whether what a packet costs depends on how many
// VTEPs there are that packets go to in turn.
func Peopled() []Path { return []Path{peers("weft", 1), peers("weft", 16), peers("weft", 256)} }

// PeopledReferences are what such a path is compared with: the one that has a
// single peer, and the kernel's vxlan with as many, since routes, neighbours and
// flows of the hosts' own grow in number too.
func PeopledReferences(p Path) []Path {
	all := []Path{peers("weft", 1)}
	if lab.LackOfKernelVXLAN() == nil {
		all = append(all, peers("kernel", p.peers))
	}
	return all
}

// peers is a path on which every datagram goes to another of n stations, each
// behind a VTEP of its own. All other traffic goes to the last of them.
//
// All VTEPs are addresses of one host, and one link receives for all: what is
// measured is the sender, whose link has n entries, n remotes and n flows. A
// station is a macvlan device above that link, since the kernel takes no frame for
// another MAC than a device's own; one peer has one too.
func peers(of string, n int) Path {
	p := Path{Name: fmt.Sprintf("%s-%d-peers", of, n), Extra: true, peers: n}
	lay := layWeft
	if of == "kernel" {
		lay, p.Ratio = layKernel, "x_kernel"
	} else if n == 1 {
		p.Name, p.Ratio = "weft-1-peer", "x_peer"
	}
	p.lay = func(b *Bed, p *Path, number byte) (from, to End, err error) {
		if from, to, err = lay(b, p, number); err != nil {
			return from, to, err
		}
		to.stations, err = b.addStations(from, number, n)
		to.Addr = to.stations[n-1]
		return from, to, err
	}
	return p
}

// nth is an address of one of a path's two nets, that of VTEPs and that of stations.
func nth(net netip.Prefix, i int) netip.Addr {
	a := net.Addr().As4()
	a[2], a[3] = byte((i+1)>>8), byte(i+1)
	return netip.AddrFrom4(a)
}

func netOf(first, number byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, first + number, 0, 0}), 16)
}

// addStations puts n of them behind the receiving end of the link of a number, and
// tells the sending one.
func (b *Bed) addStations(from End, number byte, n int) (all []netip.Addr, err error) {
	vteps, stations, dev := netOf(100, number), netOf(200, number), fmt.Sprintf("link%d", number)
	err = errors.Join(b.a.AddRoute(vteps, "eth0", netip.Addr{}), b.a.AddRoute(stations, dev, netip.Addr{}))
	var entries []lab.FDBEntry
	for i := range n {
		mac, station := net.HardwareAddr{2, 0xdd, 0, number, byte(i >> 8), byte(i)}, nth(stations, i)
		e := lab.FDBEntry{MAC: mac, Dev: dev, Dst: nth(vteps, i)}
		err = errors.Join(err,
			b.b.AddAddr("eth0", netip.PrefixFrom(e.Dst, 32)),
			addStation(b.b, dev, fmt.Sprintf("station%d.%d", number, i), mac, station),
			b.a.AddNeighbour(dev, station, mac),
		)
		entries, all = append(entries, e), append(all, station)
	}
	return all, errors.Join(err, from.replace(entries))
}

// replace has an end's link send where entries say: a station may have been heard
// of already, and so has an entry.
func (e *End) replace(entries []lab.FDBEntry) error {
	var lines strings.Builder
	for _, entry := range entries {
		fmt.Fprintf(&lines, "fdb replace %v dev %s dst %v\n", entry.MAC, entry.Dev, entry.Dst)
		if e.link == nil {
			if err := e.Host.ChangeFDB(lab.FDBReplace, entry); err != nil {
				return err
			}
		}
	}
	if e.link == nil {
		return nil
	}
	return e.link.batch(lines.String())
}

// addStation makes a device with an address above a host's link.
func addStation(h *lab.Host, dev, name string, mac net.HardwareAddr, addr netip.Addr) error {
	below, err := h.Netlink().LinkByName(dev)
	if err != nil {
		return err
	}
	attrs := netlink.LinkAttrs{Name: name, ParentIndex: below.Attrs().Index, HardwareAddr: mac, TxQLen: -1}
	if err := h.Netlink().LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return fmt.Errorf("host %s: adding %s: %w", h.Name, name, err)
	}
	return errors.Join(h.AddAddr(name, netip.PrefixFrom(addr, 32)), h.SetUp(name))
}
