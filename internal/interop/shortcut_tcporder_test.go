package interop

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestShortcutTCPOrder has messages end in segments that are so short that the
// kernel does not join them with others: they stay behind those that it does.
func TestShortcutTCPOrder(t *testing.T) {
	lab.NeedShortcuts(t)
	for _, mode := range []wireMode{offloadsOn, wireLike} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			a, b := connect(t, pairing{user, user}, underlay4, nil)
			mode.apply(t, a, b)
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			from, to := a.tcp(t, b)
			failed := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, to)
				failed <- err
			}()
			message := make([]byte, 4*1398+20)
			check(t, lab.Eventually(2*waitLimit, func() error {
				before := b.figures(t)
				swapped := outOfOrder(t, b.Host)
				for range 500 {
					if _, err := from.Write(message); err != nil {
						return err
					}
				}
				now := b.figures(t).since(before)
				if n := outOfOrder(t, b.Host) - swapped; n > 0 && receivedShort(now) > now.rxPackets*9/10 {
					t.Fatalf("%d segments arrived out of order", n)
				}
				if receivedShort(now) < now.rxPackets*9/10 {
					return fmt.Errorf("%d of %d packets by shortcuts", receivedShort(now), now.rxPackets)
				}
				return nil
			}))
			check(t, from.CloseWrite())
			check(t, <-failed)
		})
	}
}

// tcp connects two VTEPs through the link.
func (v *vtep) tcp(t *testing.T, to *vtep) (near, far *net.TCPConn) {
	t.Helper()
	var l net.Listener
	check(t, to.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(to.addr.String(), "0"))
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
