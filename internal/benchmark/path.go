//go:build linux

package benchmark

import (
	"net/netip"
	"slices"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// Path is a way for packets between the two hosts of a bed.
type Path struct {
	Name  string
	Ratio string // the unit of ratios to it, if it is one that others are compared with
	Extra bool   // not for the short version

	lay        func(b *Bed, p *Path, number byte) (from, to End, err error)
	crowd      func(l *weftLink, v *lab.VXLAN) error // fills a link of weft's that is there, or its port
	words, env []string                              // of weft's command line and daemon
}

// Paths are the paths that are measured. A new one is a row here, with the
// function that lays it if no other path is laid like it.
func Paths() []Path {
	return []Path{
		{Name: "veth", Ratio: "x_veth", lay: layNothing},
		{Name: "kernel", Ratio: "x_kernel", lay: layKernel},
		{Name: "weft", lay: layWeft},
		{Name: "weft-default-buffer", Extra: true, lay: layWeft, env: []string{"WEFT_RCVBUF=0"}},
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
