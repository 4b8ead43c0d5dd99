package interop

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestShortcutTCPOrder has messages end in segments that are so short that the
// kernel does not join them with others: they stay behind those that it does. Both ends
// keep to one core: what two of them send at once comes out of order on a busy machine
// between two of the kernel's devices, too.
func TestShortcutTCPOrder(t *testing.T) {
	lab.NeedShortcuts(t)
	for _, c := range []struct {
		pairing
		underlay
		mode wireMode
		to   netip.Addr
	}{
		{pairing{user, user}, underlay4, offloadsOn, innerB[0].Addr()},
		{pairing{user, user}, underlay4, wireLike, innerB[0].Addr()},
		{pairing{user, user}, underlay6, wireLike, innerB[1].Addr()},
		{pairing{kernel, user}, underlay4, wireLike, innerB[1].Addr()},
		{pairing{kernel, user}, underlay6, wireLike, innerB[0].Addr()},
	} {
		t.Run(fmt.Sprintf("%v/%s/%s/%v", c.pairing, c.name, c.mode.name, c.to), func(t *testing.T) {
			t.Parallel()
			a, b := connect(t, c.pairing, c.underlay, nil)
			c.mode.apply(t, a, b)
			check(t, a.Ping(c.to, lab.PingOptions{}).Lost())
			from, to := a.tcp(t, b, c.to)
			failed := lab.OnCore(lab.FirstCore, func() error {
				_, err := io.Copy(io.Discard, to)
				return err
			})
			message := make([]byte, 4*1398+20)
			settled := 0 // rounds in a row that were all the kernel's: nothing of the next one waits in the process
			check(t, lab.Eventually(2*waitLimit, func() error {
				before := b.figures(t)
				swapped := outOfOrder(t, b.Host)
				if err := <-lab.OnCore(lab.FirstCore, func() (err error) {
					for n := 0; n < 500 && err == nil; n++ {
						_, err = from.Write(message)
					}
					return err
				}); err != nil {
					return err
				}
				now := b.figures(t).since(before)
				if settled++; receivedShort(now) < now.rxPackets*9/10 {
					settled = 0
				}
				if n := outOfOrder(t, b.Host) - swapped; n > 0 && settled > 1 {
					t.Fatalf("%d segments arrived out of order", n)
				}
				if settled < 5 {
					return fmt.Errorf("%d of %d packets by shortcuts, the %d. such round", receivedShort(now), now.rxPackets, settled)
				}
				return nil
			}))
			check(t, from.CloseWrite())
			check(t, <-failed)
		})
	}
}

// tcp connects two VTEPs through the link, by an address of the second.
func (v *vtep) tcp(t *testing.T, to *vtep, addr netip.Addr) (near, far *net.TCPConn) {
	t.Helper()
	var l net.Listener
	check(t, to.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(addr.String(), "0"))
		return err
	}))
	defer func() { _ = l.Close() }()
	var c net.Conn
	check(t, v.Do(func() (err error) {
		c, err = net.Dial("tcp", l.Addr().String())
		return err
	}))
	accepted, err := l.Accept()
	check(t, err)
	t.Cleanup(func() { _, _ = c.Close(), accepted.Close() })
	return c.(*net.TCPConn), accepted.(*net.TCPConn)
}
