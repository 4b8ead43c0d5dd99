//go:build !linux || portable

package underlay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/net/ipv4"
)

// TestOneByOne moves datagrams as it is done where there are no batches.
func TestOneByOne(t *testing.T) {
	for _, loopback := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
		t.Run(loopback.String(), func(t *testing.T) {
			from, to := openForTest(t, loopback.Is6()), openForTest(t, loopback.Is6())
			r := &Receiver{Socket: to}
			r.layOut()
			port := to.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
			messages := make([]ipv4.Message, 2)
			for i, parts := range [][][]byte{{[]byte("header"), []byte(" and payload")}, {[]byte("short")}} {
				messages[i] = ipv4.Message{Buffers: parts, Addr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, port))}
			}
			for i, want := range []string{"header and payload", "short"} {
				if n, err := from.batch.WriteBatch(messages[i:], 0); n != 1 || err != nil {
					t.Fatalf("WriteBatch: %d, %v", n, err)
				}
				got, err := r.Receive()
				if err != nil || len(got) != 1 || string(got[0].Data) != want || got[0].From != loopback || got[0].TOS != 0 {
					t.Errorf("received %v, %v, want %q", got, err, want)
				}
			}
		})
	}
}

// openForTest opens a socket on a free port, without batches.
func openForTest(t *testing.T, v6 bool) *Socket {
	t.Helper()
	s, err := open(v6, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.batch = &oneByOne{conn: s.conn}
	return s
}

// TestPosixError looks for the names that callers compare with.
func TestPosixError(t *testing.T) {
	const addressInUse, messageSize = syscall.Errno(10048), syscall.Errno(10040) // of Windows
	wrapped := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", addressInUse)}
	for _, c := range []struct{ err, want error }{
		{wrapped, syscall.EADDRINUSE},
		{messageSize, syscall.EMSGSIZE},
		{os.NewSyscallError("bind", syscall.EADDRINUSE), syscall.EADDRINUSE},
		{net.ErrClosed, net.ErrClosed},
		{fmt.Errorf("write: %w", syscall.ENETUNREACH), syscall.ENETUNREACH},
	} {
		if got := posixError(c.err); !errors.Is(got, c.want) {
			t.Errorf("%v became %v, want %v", c.err, got, c.want)
		}
	}
}
