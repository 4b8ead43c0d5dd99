package bench

import (
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// path is a way between the two hosts that is measured.
type path struct {
	name  string
	weft  bool
	words []string // of weft's
	env   []string
}

// The paths. The first is what the others are compared with.
var (
	kernel = path{name: "kernel"}
	paths  = []path{
		{name: "weft", weft: true},
		{name: "weft-default-buffer", weft: true, env: []string{"WEFT_RCVBUF=0"}},
		{name: "weft-portable", weft: true, words: []string{"offload", "off"}},
	}
)

// mode is what the wire does for the hosts.
type mode struct {
	name     string
	offloads lab.Offloads
}

var modes = []mode{
	{"offloads-on", lab.OffloadsOn()},
	{"wire-like", lab.WireLike()},
}

// bed is two hosts on one wire.
type bed struct {
	a, b *lab.Host
	used byte // links so far
}

// newBed lays the wire.
func newBed(b *testing.B, m mode) *bed {
	b.Helper()
	lab.NeedKernelVXLAN(b)
	lab.NeedTUN(b)
	hostA, hostB := lab.TestPair(b)
	for _, h := range []*lab.Host{hostA, hostB} {
		if err := h.SetOffloads("eth0", m.offloads); err != nil {
			b.Fatal(err)
		}
	}
	return &bed{a: hostA, b: hostB}
}

// lay makes a link between the hosts and returns the address of the far end.
// Each link has a port, and so a worker, of its own.
func (d *bed) lay(b *testing.B, p path) netip.Addr {
	b.Helper()
	d.used++
	at := func(host byte) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, d.used, host}), 24)
	}
	d.end(b, p, d.a, at(2), lab.PairA4.Addr(), lab.PairB4.Addr())
	d.end(b, p, d.b, at(3), lab.PairB4.Addr(), lab.PairA4.Addr())
	return at(3).Addr()
}

func (d *bed) end(b *testing.B, p path, h *lab.Host, addr netip.Prefix, local, remote netip.Addr) {
	b.Helper()
	name := "link" + string('0'+rune(d.used))
	v := &lab.VXLAN{Name: name, ID: uint32(d.used), Port: 4788 + uint16(d.used), Local: local, Remote: remote, Dev: "eth0"}
	addrs := []netip.Prefix{addr}
	var err error
	if p.weft {
		w := &vtep.Weft{Host: h, Env: append([]string{"WEFT_RUN_DIR=" + lab.RunDir()}, p.env...)}
		err = w.AddLink(v, addrs, p.words...)
		b.Cleanup(func() { _ = h.Delete(name) })
	} else {
		err = vtep.AddKernelLink(h, v, addrs)
	}
	if err != nil {
		b.Fatal(err)
	}
}
