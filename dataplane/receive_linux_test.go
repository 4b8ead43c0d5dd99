//go:build !portable

package dataplane

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/weftnet/weft/dataplane/internal/tap"
	"github.com/weftnet/weft/dataplane/internal/underlay"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/routetable"
)

// arrivals makes datagrams: mostly such that go on where the one before ended,
// sometimes with something different about them, for good or once.
type arrivals struct {
	*rand.Rand
	vni    uint32
	source byte // last byte of the inner source MAC
	ecn    byte // inner
	flow   int
	at     [2]int // bytes into each flow
	outer  underlay.Datagram
}

func newArrivals(seed uint64) *arrivals {
	return &arrivals{Rand: rand.New(rand.NewPCG(seed, 7)), vni: 5, source: 1, outer: underlay.Datagram{From: vtep}}
}

// next returns one VXLAN packet and how it came in.
func (a *arrivals) next() underlay.Datagram {
	switch a.IntN(40) {
	case 0:
		a.vni = []uint32{5, 7, 7, 6}[a.IntN(4)] // there is no link 6
	case 1:
		a.source = []byte{1, 1, 2, 9, 0x55}[a.IntN(5)] // 9 is the links' own, 0x55 pinned
	case 2:
		a.ecn = byte(a.IntN(4))
	case 3:
		a.outer.TOS = byte(a.IntN(4))
	case 4:
		a.outer.From = []netip.Addr{vtep, vtep, vtep.Next()}[a.IntN(3)]
	case 5:
		a.outer.IfIndex = a.IntN(2)
	case 6:
		a.flow = a.IntN(2)
	}
	f := a.segment()
	d := a.outer
	d.Data = appendDatagram(nil, f)
	binary.BigEndian.PutUint32(d.Data[4:], a.vni<<8)
	switch a.IntN(40) {
	case 0:
		d.Data[a.IntN(encap.HeaderLen)] ^= 1 << a.IntN(8)
	case 1:
		d.Data = d.Data[:a.IntN(len(d.Data))]
	case 2:
		d.Data[len(d.Data)-1] ^= 1
	case 3:
		copy(d.Data[encap.HeaderLen+6:], "\x01")
	}
	return d
}

// segment is the next frame of the flow.
func (a *arrivals) segment() []byte {
	f := frame(false, tcp(a.at[a.flow]), make([]byte, 100))
	a.at[a.flow] += 100
	f[11] = a.source
	f[35] += byte(a.flow)
	f[15] |= a.ecn
	sum := 0 // of the IPv4 header; the port changes the TCP checksum by as much
	f[24], f[25] = 0, 0
	for i := 14; i < 34; i += 2 {
		sum += int(binary.BigEndian.Uint16(f[i:]))
	}
	binary.BigEndian.PutUint16(f[24:], ^uint16(sum+sum>>16))
	field := binary.BigEndian.Uint16(f[50:])
	binary.BigEndian.PutUint16(f[50:], field-uint16(a.flow))
	return f
}

// runsOf joins neighbours as UDP_GRO does: those of one size that came in alike,
// and a shorter one behind them.
func runsOf(all []underlay.Datagram) (joined []underlay.Datagram) {
	open := false
	for _, d := range all {
		if last := len(joined) - 1; open && len(d.Data) > 0 {
			run := &joined[last]
			size := run.Segment
			if size == 0 {
				size = len(run.Data)
			}
			if len(d.Data) <= size && d.From == run.From && d.TOS == run.TOS && d.IfIndex == run.IfIndex {
				run.Data = append(run.Data, d.Data...)
				run.Segment = size
				open = len(d.Data) == size
				continue
			}
		}
		d.Data = slices.Clone(d.Data)
		joined = append(joined, d)
		open = len(d.Data) > 0
	}
	return joined
}

// twoLinks are links 5 and 7 of one port, which know a pinned address.
func twoLinks(t *testing.T) (*path, []*Link) {
	t.Helper()
	p := newPath(t)
	second := newLink(p.port, &resolved{cfg: LinkConfig{VNI: 7, Remote: vtep, Port: 4789}}, &tap.Device{}, p.pool, nil)
	second.joined = encap.Coalescer{TCP: true, UDP: true}
	second.attrs.Store(p.attrs.Load())
	p.from.links[7] = second
	links := []*Link{p.Link, second}
	for _, l := range links {
		if err := l.fdb.Add(routetable.MAC{2, 0, 0, 0, 0, 0x55}, routetable.Remote{Addr: vtep, Port: 4789, VNI: 5}, routetable.Static, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	return p, links
}

// outcome is all that there is to see of what became of a batch.
func outcome(p *path, links []*Link) string {
	var b bytes.Buffer
	fmt.Fprintln(&b, "port dropped", droppedBy(&p.port.drops))
	for _, l := range links {
		fmt.Fprintln(&b, "link", l.vni, "dropped", droppedBy(&l.counters.drops))
		for _, e := range slices.SortedFunc(l.fdb.Entries(), func(a, b routetable.Entry) int { return bytes.Compare(a.MAC[:], b.MAC[:]) }) {
			fmt.Fprintln(&b, "knows", e.MAC, e.Remotes)
		}
		for _, f := range l.joined.Frames() {
			fmt.Fprintf(&b, "frame %x, %x, %+v\n", f.Frame, f.Tail, f.GSO)
		}
		l.joined.Reset()
		l.dirty = false
	}
	p.port.dirty = p.port.dirty[:0]
	return b.String()
}

func droppedBy(c *dropCounters) map[string]uint64 {
	all := map[string]uint64{}
	c.addTo(all)
	return all
}

// TestReceiveByTheOneBefore: what is known of the packet before changes
// nothing about what becomes of the next one. Taken one by one, each as if it
// were the first, and taken in runs and batches, they end up the same.
func TestReceiveByTheOneBefore(t *testing.T) {
	apart, apartLinks := twoLinks(t)
	batched, batchedLinks := twoLinks(t)
	for seed := range uint64(400) {
		a := newArrivals(seed)
		var all []underlay.Datagram
		for range 1 + a.IntN(120) {
			all = append(all, a.next())
		}
		source := socketSource{port: batched.port, from: batched.from, datagrams: runsOf(all)}
		source.takeApart()
		for i := range all {
			apart.port.split(&all[i], &received{from: apart.from})
		}
		want, got := outcome(apart, apartLinks), outcome(batched, batchedLinks)
		if got != want {
			t.Fatalf("seed %d, %d packets in %d datagrams:\n%s\nwant\n%s", seed, len(all), len(source.datagrams), got, want)
		}
	}
}
