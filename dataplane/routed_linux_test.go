//go:build !portable

package dataplane

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// newRoutedPath is newPath with a link whose device carries IP packets.
func newRoutedPath(t testing.TB, cfg LinkConfig) *path {
	t.Helper()
	p := newPath(t)
	p.port.number, cfg.Port = 8285, 8285
	p.pool = underlay.PoolOf(p.from.Socket)
	l := newLink(p.port, &resolved{cfg: cfg}, &tap.Device{}, p.pool, nil)
	l.joined.TCP, l.joined.UDP = true, true
	l.attrs.Store(&attributes{mtu: 1450, up: true})
	l.path = p.path
	for _, to := range []string{"10.0.0.0/24", "fd00::/64"} {
		c := RouteChange{Op: RouteAdd, Prefix: netip.MustParsePrefix(to), Via: vtep}
		if cfg.L3 {
			c.MAC = routetable.MAC(macA)
		}
		if err := l.ChangeRoute(&c); err != nil {
			t.Fatal(err)
		}
	}
	p.from.links[cfg.VNI] = l
	if cfg.Bare() {
		p.from.bare = l
	}
	return &path{Link: l, from: p.from}
}

var (
	bareConfig = LinkConfig{Type: TypeUDP}
	l3Config   = LinkConfig{VNI: 7, L3: true, Address: macB.String()}
)

// unwrapped is a frame as a TUN device of a link gives it: without its Ethernet
// header, and with the headroom that the link asks for.
func unwrapped(cfg *LinkConfig, f outFrame) outFrame {
	d := append(make([]byte, cfg.headroom()), f.Frame[encap.EtherHeaderLen:]...)
	f.Frame, f.datagram = d[cfg.headroom():], d
	f.GSO.Shift(-encap.EtherHeaderLen)
	return f
}

// sendRouted does as routedSource with a batch of packets.
func (p *path) sendRouted(batch []outFrame) {
	for i := range batch {
		p.prefetch(batch[i].Frame)
	}
	var o outgoing
	for i := range batch {
		p.packets[i] = batch[i].Packet
		o.Packet, o.datagram = &p.packets[i], batch[i].datagram
		p.route(&o)
	}
	p.port.sender.Flush()
}

// withoutHeaders are VXLAN datagrams as a link of bare packets gets them.
func withoutHeaders(batch []underlay.Datagram) (bare []underlay.Datagram) {
	const headers = encap.HeaderLen + encap.EtherHeaderLen
	for _, d := range batch {
		next := underlay.Datagram{From: d.From}
		size := d.Segment
		if size == 0 {
			size = len(d.Data)
		} else {
			next.Segment = size - headers
		}
		for part := range slices.Chunk(d.Data, size) {
			next.Data = append(next.Data, part[headers:]...)
		}
		bare = append(bare, next)
	}
	return bare
}

// forVNI are VXLAN datagrams of another network.
func forVNI(vni uint32, batch []underlay.Datagram) []underlay.Datagram {
	for _, d := range batch {
		for at := 0; at < len(d.Data); at += max(d.Segment, 1) {
			encap.PutHeader(d.Data[at:], vni)
			if d.Segment == 0 {
				break
			}
		}
	}
	return batch
}

// TestRoutedPath: packets go where the routes say, and come back joined, without
// allocation.
func TestRoutedPath(t *testing.T) {
	for name, cfg := range map[string]LinkConfig{"udp": bareConfig, "l3": l3Config} {
		p := newRoutedPath(t, cfg)
		for what, batch := range map[string][]outFrame{
			"IPv4": {superFrame(false)}, "IPv6": {superFrame(true)}, "1 flow": smallFrames(1), "16 flows": smallFrames(16),
		} {
			for i := range batch {
				batch[i] = unwrapped(&cfg, batch[i])
			}
			before := p.counters.txPackets.Load()
			p.sendRouted(batch)
			if sent := p.counters.txPackets.Load() - before; sent != uint64(len(batch)) {
				t.Errorf("%s, %s: %d packets sent, want %d", name, what, sent, len(batch))
			}
			wantNoAllocs(t, name+", "+what+", out", func() { p.sendRouted(batch) })
		}
		for what, c := range map[string]struct {
			batch  []underlay.Datagram
			frames int
		}{
			"IPv4": {[]underlay.Datagram{segmentRun(false)}, 1}, "IPv6": {[]underlay.Datagram{segmentRun(true)}, 1},
			"1 flow": {smallDatagrams(1), 1}, "16 flows": {smallDatagrams(16), 16},
		} {
			if c.batch = forVNI(7, c.batch); cfg.Bare() {
				c.batch = withoutHeaders(c.batch)
			}
			rewind := rewound(c.batch, c.frames)
			if made := p.receive(c.batch); len(made) != c.frames {
				t.Errorf("%s, %s: %d packets for the device, want %d", name, what, len(made), c.frames)
			}
			p.joined.Reset()
			wantNoAllocs(t, name+", "+what+", in", func() {
				rewind()
				p.receive(c.batch)
				p.joined.Reset()
			})
		}
		for reason, n := range p.dropsOf() {
			t.Errorf("%s: %d dropped for %s", name, n, reason)
		}
	}
}

// dropsOf are the link's own drops.
func (l *Link) dropsOf() map[string]uint64 {
	all := map[string]uint64{}
	l.counters.drops.addTo(all)
	for reason, n := range all {
		if n == 0 {
			delete(all, reason)
		}
	}
	return all
}

// TestRoutedDrops: what is not for the link, or no IP packet, is dropped for its
// own reason, and nothing else is.
func TestRoutedDrops(t *testing.T) {
	four, six := frame(false, udp(0), make([]byte, 50)), frame(true, udp(0), make([]byte, 50))
	edit := func(f []byte, at int, b ...byte) []byte {
		f = slices.Clone(f)
		copy(f[at:], b)
		return f
	}
	vlan := slices.Concat(four[:12], []byte{0x81, 0, 0, 7}, four[12:])
	for name, c := range map[string]struct {
		frame []byte
		tos   uint8
		l3    string // reasons
		bare  string
	}{
		"IPv4":                 {frame: four},
		"IPv6":                 {frame: six},
		"IPv4, marked outside": {four, 3, "ecn", "ecn"},
		"to another":           {edit(four, 0, 2, 9), 0, "other_host", ""},
		"to everybody":         {edit(four, 0, 255, 255, 255, 255, 255, 255), 0, "other_host", ""},
		"from itself":          {edit(four, 6, macB...), 0, "own_source", ""},
		"ARP":                  {edit(four, 12, 8, 6), 0, "not_ip", ""},
		"tagged":               {vlan, 0, "vlan", "not_ip"},
		"IPv6 as IPv4":         {edit(six, 12, 8, 0), 0, "not_ip", ""},
		"version 7":            {edit(four, 14, 0x75), 0, "not_ip", "not_ip"},
		"short":                {four[:30], 0, "bad_length", "bad_length"},
		"shorter":              {four[:13], 0, "short_frame", "bad_length"},
		"cut off":              {four[:len(four)-1], 0, "", "bad_length"}, // the kernel drops it
	} {
		t.Run("l3/"+name, func(t *testing.T) {
			d := underlay.Datagram{Data: appendDatagram(nil, c.frame), From: vtep, TOS: c.tos}
			forVNI(7, []underlay.Datagram{d})
			newRoutedPath(t, l3Config).wantDropped(t, d, c.l3)
		})
		t.Run("udp/"+name, func(t *testing.T) {
			d := underlay.Datagram{Data: slices.Clone(c.frame[min(len(c.frame), encap.EtherHeaderLen):]), From: vtep, TOS: c.tos}
			newRoutedPath(t, bareConfig).wantDropped(t, d, c.bare)
		})
	}
}

// wantDropped wants a datagram to be dropped for a reason, or taken if that is
// "".
func (p *path) wantDropped(t *testing.T, d underlay.Datagram, reason string) {
	t.Helper()
	made := p.receive([]underlay.Datagram{d})
	got := p.dropsOf()
	if reason == "" && (len(made) != 1 || len(got) > 0) || reason != "" && (len(made) != 0 || len(got) != 1 || got[reason] != 1) {
		t.Errorf("%d packets for the device, dropped %v, want %q", len(made), got, reason)
	}
}

// TestRoutedFrames: the frame that a packet with l3 becomes has the link's
// address, the route's and the packet as it was.
func TestRoutedFrames(t *testing.T) {
	p := newRoutedPath(t, l3Config)
	want := frame(false, udp(0), []byte("text"))
	copy(want[:12], slices.Concat([]byte(macA), []byte(macB))) // to the route's, from the link's
	packet := unwrapped(&l3Config, outFrame{Packet: encap.Packet{Frame: slices.Clone(want)}})
	o := outgoing{Packet: &packet.Packet, datagram: packet.datagram}
	p.route(&o)
	if !bytes.Equal(o.Frame, want) {
		t.Errorf("%x\nwant %x", o.Frame, want)
	}
	header := appendDatagram(nil, nil)
	encap.PutHeader(header, 7)
	if !bytes.Equal(o.datagram[:encap.HeaderLen], header) {
		t.Errorf("VXLAN header %x, want %x", o.datagram[:encap.HeaderLen], header)
	}
	p.port.sender.Flush()
}

// TestChangeRoute reads what is refused, in the kernel's words.
func TestChangeRoute(t *testing.T) {
	vni, large := uint32(9), uint32(1<<24)
	to, via := netip.MustParsePrefix("10.0.0.0/24"), vtep
	mac := routetable.MAC{2}
	bare, l3, tapped := newRoutedPath(t, bareConfig).Link, newRoutedPath(t, l3Config).Link, newPath(t).Link
	for _, l := range []*Link{bare, l3, tapped} {
		l.attrs.Store(&attributes{name: "x0"})
	}
	six := netip.MustParseAddr("fd00::1")
	for _, c := range []struct {
		link *Link
		RouteChange
		want string
	}{
		{bare, RouteChange{Op: RouteAdd, Prefix: to, Via: via}, "route add 10.0.0.0/24 dev x0: File exists"},
		{bare, RouteChange{Op: RouteReplace, Prefix: to, Via: via}, ""},
		{bare, RouteChange{Op: RouteDelete, Prefix: to, Via: via.Next()}, "No such process"},
		{bare, RouteChange{Op: RouteDelete, Prefix: to, Port: 8286}, "No such process"},
		{bare, RouteChange{Op: RouteDelete, Prefix: netip.MustParsePrefix("10.0.0.0/25")}, "No such process"},
		{bare, RouteChange{Op: RouteDelete, Prefix: to, Via: via, Port: 8285}, ""},
		{bare, RouteChange{Op: RouteDelete, Prefix: to}, "No such process"},
		{bare, RouteChange{Op: RouteAdd, Prefix: to}, "`via VTEP` is missing"},
		{bare, RouteChange{Op: RouteAdd, Prefix: to, Via: six}, "Address family not supported by protocol: via fd00::1"},
		{bare, RouteChange{Op: RouteAdd, Prefix: to, Via: netip.MustParseAddr("239.1.1.1")}, "the address of one host"},
		{bare, RouteChange{Op: RouteAdd, Prefix: to, Via: via, MAC: mac}, "lladdr 02:00:00:00:00:00: datagrams of a link of type udp"},
		{bare, RouteChange{Op: RouteAdd, Prefix: to, Via: via, VNI: &vni}, "vni 9: datagrams of a link of type udp"},
		{bare, RouteChange{Op: RouteAdd, Prefix: netip.MustParsePrefix("10.0.0.1/24"), Via: via}, "Invalid argument: bits are set"},
		{bare, RouteChange{Op: "append", Prefix: to, Via: via}, "unknown change"},
		{l3, RouteChange{Op: RouteReplace, Prefix: to, Via: via}, "`lladdr MAC` is missing"},
		{l3, RouteChange{Op: RouteReplace, Prefix: to, Via: via, MAC: routetable.MAC{1}}, "the unicast address"},
		{l3, RouteChange{Op: RouteReplace, Prefix: to, Via: via, MAC: mac, VNI: &large}, "0 to 16777215 are allowed"},
		{l3, RouteChange{Op: RouteReplace, Prefix: to, Via: via, MAC: mac, VNI: &vni, Port: 4789}, ""},
		{l3, RouteChange{Op: RouteDelete, Prefix: to, MAC: routetable.MAC(macA)}, "No such process"},
		{l3, RouteChange{Op: RouteDelete, Prefix: to, MAC: mac, VNI: &vni}, ""},
		{tapped, RouteChange{Op: RouteAdd, Prefix: to, Via: via}, "x0 has no routes: it is a link of type vxlan without l3"},
	} {
		err := c.link.ChangeRoute(&c.RouteChange)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %q", c.Op, c.RouteChange, err, c.want)
		}
	}
	if _, err := l3.Route(netip.MustParseAddr("10.1.1.1")); err == nil || !strings.HasPrefix(err.Error(), "Network is unreachable") {
		t.Errorf("no route: %v", err)
	}
	if _, err := bare.FDB(); err == nil || !strings.Contains(err.Error(), "use `weft route`") {
		t.Errorf("FDB: %v", err)
	}
}
