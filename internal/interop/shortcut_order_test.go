package interop

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// shortcutLease is how long the kernel goes by what it was told of a flow, if that
// is not renewed.
const shortcutLease = time.Second

// TestShortcutSendOrder sends numbered datagrams for some seconds, no more at once
// than any queue holds, while all flows are the process's again and again: each
// arrives, and none behind a later one of its flow.
func TestShortcutSendOrder(t *testing.T) {
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for _, n := range []int{1, 16} {
			t.Run(fmt.Sprintf("%s/%d flows", u.name, n), func(t *testing.T) {
				a, b := connect(t, pairing{user, user}, u, func(_, b *spec) {
					b.Env = append(b.Env, "WEFT_OFFLOAD_OFF=shortcut_rx")
				})
				for i := range innerB {
					check(t, a.Ping(innerB[i].Addr(), lab.PingOptions{}).Lost())
				}
				m := newMeter(t, a, b)
				takeBack(t, u, a)
				failed := make(chan error, n)
				for i := range n {
					s := newStream(t, a.Host, b.Host, innerB[i%2].Addr())
					go func() { failed <- s.run(4 * shortcutLease) }()
				}
				for range n {
					if err := <-failed; err != nil {
						t.Error(err)
					}
				}
				m.checkDrops(t)
				if s := m.moved()[0]; s.Offload.ShortcutTx < s.TxPackets/2 {
					t.Errorf("most were sent by the process: %+v", s)
				}
			})
		}
	}
}

// TestShortcutReceiveOrder has the same stream received past the process: sent by
// weft, as runs and single datagrams by chance, and sent past it.
func TestShortcutReceiveOrder(t *testing.T) {
	lab.NeedShortcuts(t)
	for _, off := range []string{"shortcut_tx", ""} {
		for _, n := range []int{1, 16} {
			t.Run(fmt.Sprintf("without %q/%d flows", off, n), func(t *testing.T) {
				a, b := connect(t, pairing{user, user}, underlay4, func(a, _ *spec) { a.Env = append(a.Env, "WEFT_OFFLOAD_OFF="+off) })
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				takeBack(t, underlay4, a, b)
				failed := make(chan error, n)
				for range n {
					s := newStream(t, a.Host, b.Host, innerB[0].Addr())
					go func() { failed <- s.run(4 * shortcutLease) }()
				}
				for range n {
					if err := <-failed; err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// takeBack has each link's flows be its process's again, every two thirds of a second until
// the test is over: what happens to any of its entries has that effect.
func takeBack(t *testing.T, u underlay, of ...*vtep) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-ended })
	go func() {
		defer close(ended)
		ticker := time.NewTicker(shortcutLease * 2 / 3)
		defer ticker.Stop()
		for n := 1; ; n++ {
			for _, v := range of {
				out, err := v.weft.line.Run(v.entryElsewhere(u, n)...)
				if err != nil || out.Status != 0 {
					t.Errorf("weft: %v, %s", err, out.Stderr)
				}
			}
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
		}
	}()
}

// entryElsewhere is a line that changes an entry which no packet goes by.
func (v *vtep) entryElsewhere(u underlay, n int) []string {
	at := fmt.Sprintf("192.0.2.%d", n%250+1)
	if u == underlay6 {
		at = fmt.Sprintf("2001:db8::%x", n)
	}
	switch v.link {
	case "flannel0":
		return []string{"route", "replace", "10.99.0.0/16", "dev", v.link, "via", at}
	case "flannel.1":
		return []string{"route", "replace", "10.99.0.0/16", "dev", v.link, "via", at, "lladdr", "02:00:00:00:99:99"}
	}
	return []string{"fdb", "replace", "02:00:00:00:99:99", "dev", v.link, "dst", at}
}

// numbered is a stream of datagrams of which each has its number.
type numbered struct {
	from, to *net.UDPConn
	dst      netip.AddrPort
}

func newStream(t *testing.T, from, to *lab.Host, dst netip.Addr) *numbered {
	t.Helper()
	s := &numbered{to: openUDP(t, to, netip.AddrPortFrom(dst, 0))}
	s.dst = s.to.LocalAddr().(*net.UDPAddr).AddrPort()
	own := netip.IPv6Unspecified()
	if dst.Is4() {
		own = netip.IPv4Unspecified()
	}
	s.from = openUDP(t, from, netip.AddrPortFrom(own, 0))
	t.Cleanup(func() { _, _ = s.from.Close(), s.to.Close() })
	return s
}

// run sends some at a time, and waits for those before it sends more.
func (s *numbered) run(d time.Duration) error {
	const window = 32
	sent, swapped, buf := uint32(0), 0, make([]byte, 2000)
	for end := time.Now().Add(d); time.Now().Before(end); {
		for range window {
			sent++
			one := make([]byte, []int{4, 1300, 60, 700}[sent%4])
			binary.BigEndian.PutUint32(one, sent)
			if _, err := s.from.WriteToUDPAddrPort(one, s.dst); err != nil {
				return err
			}
		}
		if err := s.to.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
			return err
		}
		for i := range uint32(window) {
			if _, err := s.to.Read(buf); err != nil {
				return fmt.Errorf("behind %d: %w", sent-window+i, err)
			}
			if got := binary.BigEndian.Uint32(buf); got != sent-window+i+1 {
				swapped++
			}
		}
	}
	if swapped > 0 {
		return fmt.Errorf("%d of %d datagrams came out of order", swapped, sent)
	}
	return nil
}
