//go:build linux

package benchmark

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// Path is a way for packets between the two hosts of a bed.
type Path struct {
	Name  string
	Ratio string // the unit of ratios to it, if it is one that others are compared with
	Extra bool   // not for the short version
	Few   bool   // measured with TCP of one stream alone

	lay        func(b *Bed, p *Path, number byte) (from, to End, err error)
	crowd      func(l *weftLink, v *lab.VXLAN) error // fills a link of weft's that is there, or its port
	words, env []string                              // of weft's command line and daemon

	peers           int    // that datagrams go to in turn
	network, device string // of agents: the backend's type, and weft's device if it has one
}

// Paths are the paths that are measured. A new one is a row here, with the
// function that lays it if no other path is laid like it.
func Paths() []Path {
	return []Path{
		{Name: "veth", Ratio: "x_veth", lay: layNothing},
		{Name: "kernel", Ratio: "x_kernel", lay: layKernel},
		{Name: "weft", lay: layWeft},
		{Name: "weft-default-buffer", Extra: true, lay: layWeft, env: []string{"WEFT_RCVBUF=0"}},
		{Name: "weft-udp", Extra: true, Few: true, lay: layRouted, words: []string{"type", "udp"}},
		{Name: "weft-l3", Extra: true, Few: true, lay: layRouted, words: []string{"type", "vxlan"}},
		{Name: "weft-ipv6", Extra: true, Few: true, lay: layIPv6},
		{Name: "weft-portable", Ratio: "x_portable", lay: layWeft, words: []string{"offload", "off"}},
	}
}

// Available are the paths that this machine has.
func Available() []Path {
	return slices.DeleteFunc(Paths(), func(p Path) bool { return p.Name == "kernel" && lab.LackOfKernelVXLAN() != nil })
}

// References are the paths that the others are compared with: the kernel's
// vxlan, or where there is none what weft could be at best and at worst, the
// wire itself and weft without offloads.
func References() []Path {
	wanted := []string{"kernel"}
	if lab.LackOfKernelVXLAN() != nil {
		wanted = []string{"veth", "weft-portable"}
	}
	return slices.DeleteFunc(Paths(), func(p Path) bool { return !slices.Contains(wanted, p.Name) })
}

// layNothing has the wire itself for a path.
func layNothing(b *Bed, _ *Path, _ byte) (from, to End, err error) {
	return End{Host: b.a, Addr: lab.PairA4.Addr()}, End{Host: b.b, Addr: lab.PairB4.Addr()}, nil
}

func layKernel(b *Bed, _ *Path, number byte) (from, to End, err error) {
	return b.layVXLAN(number, func(h *lab.Host, v *lab.VXLAN, addrs []netip.Prefix) (*weftLink, error) {
		return nil, vtep.AddKernelLink(h, v, addrs)
	})
}

// layWeft gives every path a daemon of its own at each end: it has its own
// environment, and what it uses of the processor can be told apart.
func layWeft(b *Bed, p *Path, number byte) (from, to End, err error) {
	return b.layVXLAN(number, func(h *lab.Host, v *lab.VXLAN, addrs []netip.Prefix) (*weftLink, error) {
		l, err := newWeftLink(h, p, v.Name)
		if err != nil {
			return nil, err
		}
		if err := l.weft.AddLink(v, addrs, p.words...); err != nil || p.crowd == nil {
			return l, err
		}
		return l, p.crowd(l, v)
	})
}

// layIPv6 is layWeft over the wire's IPv6 addresses.
func layIPv6(b *Bed, p *Path, number byte) (from, to End, err error) {
	return b.layEnds(number, func(h *lab.Host, v *lab.VXLAN, addr netip.Prefix) (*weftLink, error) {
		v.Local, v.Remote = lab.PairA6.Addr(), lab.PairB6.Addr()
		if h == b.b {
			v.Local, v.Remote = v.Remote, v.Local
		}
		l, err := newWeftLink(h, p, v.Name)
		if err != nil {
			return nil, err
		}
		return l, l.weft.AddLink(v, []netip.Prefix{addr})
	})
}

// layRouted lays links whose devices carry IP packets, of the type that the
// path's words say.
func layRouted(b *Bed, p *Path, number byte) (from, to End, err error) {
	return b.layEnds(number, func(h *lab.Host, v *lab.VXLAN, addr netip.Prefix) (*weftLink, error) {
		l, err := newWeftLink(h, p, v.Name)
		if err != nil {
			return nil, err
		}
		return l, l.addRouted(v, addr, p.words)
	})
}

// addRouted adds a link with a route to all of addr's prefix by v's remote.
func (l *weftLink) addRouted(v *lab.VXLAN, addr netip.Prefix, words []string) error {
	port := strconv.Itoa(int(v.Port))
	line := []string{"link", "add", v.Name}
	if !slices.Contains(words, "udp") {
		line = append(line, "address", routedMAC(v.Local))
	}
	line = append(line, words...)
	route := []string{"route", "add", addr.Masked().String(), "via", v.Remote.String(), "dev", v.Name}
	line = append(line, "local", v.Local.String(), "dev", v.Dev)
	if slices.Contains(words, "udp") {
		line = append(line, "port", port)
	} else {
		line = append(line, "id", "1", "dstport", port, "l3")
		route = append(route, "lladdr", routedMAC(v.Remote))
	}
	if _, err := l.weft.Must(line...); err != nil {
		return err
	}
	if _, err := l.weft.Must(route...); err != nil {
		return err
	}
	return errors.Join(l.weft.Host.AddAddr(v.Name, addr), l.weft.Host.SetUp(v.Name))
}

// routedMAC is what an end with L3 has for a MAC: one that the other knows too.
func routedMAC(vtep netip.Addr) string { return fmt.Sprintf("02:00:00:00:00:%02x", vtep.As4()[3]) }
