package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// TestFlood has a host send numbered datagrams as fast as they are received, until
// many have come by the ring and many past it: each arrives, once, as it was sent, and
// none behind a later one, by links of all kinds, to weft and to the kernel's device.
// Those whose checksums are finished go past it, but for one in 65536 that does not look
// so.
func TestFlood(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for i, u := range underlays {
		for _, c := range []struct {
			link     string
			far      kind
			finished bool
		}{{"vxlan", user, false}, {"vxlan", kernel, i == 1}, {"l3", kinds[i], false}, {"udp", user, i == 0}} {
			t.Run(fmt.Sprintf("%s/%s to %v", u.name, c.link, c.far), func(t *testing.T) {
				t.Parallel()
				a, b, inner := connectFlood(t, c.link, u, c.far)
				if c.finished {
					check(t, a.SetOffloads(a.link, lab.Offloads{"tx-checksum-ip-generic": false}))
				}
				for _, to := range inner {
					check(t, a.Ping(to, lab.PingOptions{}).Lost())
				}
				m := newMeter(t, a)
				for _, to := range inner {
					f := newFloodOf(t, a.Host, b.Host, to)
					check(t, f.run(func() error { return m.flooded(c.finished) }))
					m = newMeter(t, a)
				}
				m.checkDrops(t)
			})
		}
	}
}

// connectFlood joins two fresh hosts by links of a kind, and returns the addresses
// inside at b.
func connectFlood(t *testing.T, link string, u underlay, far kind) (a, b *vtep, inner []netip.Addr) {
	t.Helper()
	at := nodesB
	if link == "vxlan" {
		a, b = connect(t, pairing{user, far}, u, nil)
		at = innerB
	} else {
		a, b = connectRouted(t, link, u, far)
	}
	for _, p := range at {
		inner = append(inner, p.Addr())
	}
	return a, b, inner
}

// flooded returns an error until enough was sent by the ring and past it, or past it
// alone.
func (m *meter) flooded(past bool) error {
	now, before := m.moved()[0].Offload, m.before[0].Offload
	ring, short := now.DevRing-before.DevRing, now.ShortcutTx-before.ShortcutTx
	if past && ring < short/1000 && short > floodRound {
		return nil
	}
	if past || ring < 5000 || short < 500 {
		return fmt.Errorf("%d came by the ring, %d went past the process", ring, short)
	}
	return nil
}

// floodOf is a stream of numbered datagrams of which there are never more under way
// than any queue holds.
type floodOf struct {
	from, to *net.UDPConn
	dst      netip.AddrPort
	sent     uint32
	got      uint32
}

const (
	floodWindow = 400
	floodRound  = 20000
)

func newFloodOf(t *testing.T, from, to *lab.Host, dst netip.Addr) *floodOf {
	t.Helper()
	s := newStream(t, from, to, dst)
	return &floodOf{from: s.from, to: s.to, dst: s.dst}
}

// run sends until there was enough, for some seconds at most.
func (f *floodOf) run(enough func() error) error {
	var failed error
	err := lab.Eventually(4*waitLimit, func() error {
		if failed = f.round(); failed != nil {
			return nil
		}
		return enough()
	})
	return errors.Join(failed, err)
}

// round sends some and wants all of them, in order.
func (f *floodOf) round() error {
	want := make([]byte, 2000)
	return f.roundTo(func(p []byte) error {
		if want := numberedPayload(want, f.got); !bytes.Equal(p, want) {
			return fmt.Errorf("datagram %d has %d bytes, and begins with % x, want %d and % x; %s", f.got, len(p), p[:min(len(p), 8)], len(want), want[:min(len(want), 8)], f.later(f.got))
		}
		return nil
	})
}

// roundTo sends some, and has check look at each of as many that come.
func (f *floodOf) roundTo(check func(p []byte) error) error {
	window, failed := make(chan struct{}, floodWindow), make(chan error, 1)
	go func() { failed <- f.receive(window, check) }()
	buf := make([]byte, 2000)
	for range floodRound {
		select {
		case window <- struct{}{}:
		case err := <-failed:
			return err
		}
		f.sent++
		if _, err := f.from.WriteToUDPAddrPort(numberedPayload(buf, f.sent), f.dst); err != nil {
			return err
		}
	}
	return <-failed
}

func (f *floodOf) receive(window <-chan struct{}, check func(p []byte) error) error {
	buf := make([]byte, 2000)
	if err := f.to.SetReadDeadline(time.Now().Add(4 * waitLimit)); err != nil {
		return err
	}
	for range floodRound {
		n, err := f.next(buf, window)
		if err != nil {
			return err
		}
		if err := check(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// next takes one datagram, and answers now and then.
func (f *floodOf) next(buf []byte, window <-chan struct{}) (n int, err error) {
	n, from, err := f.to.ReadFromUDPAddrPort(buf)
	if err != nil {
		return n, fmt.Errorf("behind %d: %w", f.got, err)
	}
	<-window
	if f.got%500 == 0 { // with which a weft greets the other, by links of type udp
		if _, err := f.to.WriteToUDPAddrPort(buf[:1], from); err != nil {
			return n, err
		}
	}
	f.got++
	return n, nil
}

// later says whether a datagram that was expected comes behind others, or not at all.
func (f *floodOf) later(missing uint32) string {
	buf := make([]byte, 2000)
	_ = f.to.SetReadDeadline(time.Now().Add(time.Second))
	for n := 1; ; n++ {
		size, _, err := f.to.ReadFromUDPAddrPort(buf)
		if err != nil {
			return fmt.Sprintf("it was lost: %d others came", n-1)
		}
		if size >= 4 && binary.BigEndian.Uint32(buf) == missing {
			return fmt.Sprintf("it was out of order: %d places behind", n)
		}
	}
}

// numberedPayload is small but for one in a hundred, which a ring does not take.
func numberedPayload(buf []byte, n uint32) []byte {
	size := 4 + int(n*2654435761>>20)%300
	if n%100 == 7 {
		size = 1200
	}
	b := buf[:size]
	for i := range b {
		b[i] = byte(n) + byte(i)
	}
	binary.BigEndian.PutUint32(b, n)
	return b
}
