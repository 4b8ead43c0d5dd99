package conformance

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// listen opens a UDP socket in a host.
func listen(t *testing.T, h *lab.Host, at netip.AddrPort) (conn *net.UDPConn) {
	t.Helper()
	check(t, h.Do(func() error {
		c, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", at.String())
		if err == nil {
			conn = c.(*net.UDPConn)
		}
		return err
	}))
	return conn
}

// read returns the next datagram of a socket.
func read(t *testing.T, conn *net.UDPConn) []byte {
	t.Helper()
	check(t, conn.SetReadDeadline(time.Now().Add(waitLimit)))
	buf := make([]byte, 1<<16)
	n := must(conn.Read(buf))(t)
	return buf[:n]
}

// writeFile puts a text into a file that goes with the test.
func writeFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "lines")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
