package conformance

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// million is how many datagrams a link has to bear; fewer in short runs.
func million() int {
	if testing.Short() {
		return 50_000
	}
	return 1_000_000
}

// flood sends n datagrams from the peer to the link. next writes one into a
// buffer, and may change what the socket sends.
func (a *alone) flood(t *testing.T, n int, next func(conn *net.UDPConn, buf []byte) []byte) {
	t.Helper()
	buf := make([]byte, 1<<16)
	a.floodBy(t, n, func(conn *net.UDPConn, to netip.AddrPort) {
		_, err := conn.WriteToUDPAddrPort(next(conn, buf[:0]), to)
		check(t, err)
	})
}

// floodBy calls send n times, no faster than the link takes what is sent from
// its socket: what overflows there would tell nothing of what becomes of it.
func (a *alone) floodBy(t *testing.T, n int, send func(conn *net.UDPConn, to netip.AddrPort)) {
	t.Helper()
	conn := listen(t, a.peer, netip.AddrPortFrom(peerAddr(a.local), 0))
	defer func() { _ = conn.Close() }()
	const atOnce = 500 // of messages that take up to 6 kB of a buffer each
	for sent := range n {
		send(conn, netip.AddrPortFrom(a.local, alonePort))
		if sent%atOnce == atOnce-1 {
			a.awaitQueue(t, 1<<20)
		}
	}
	a.awaitQueue(t, 0)
}

// awaitQueue waits until the link's socket holds no more than so many bytes.
func (a *alone) awaitQueue(t *testing.T, limit int) {
	t.Helper()
	check(t, a.Do(func() error {
		return lab.Eventually(waitLimit, func() error {
			queued, err := queuedAt(alonePort, a.v6)
			if err == nil && queued > limit {
				err = fmt.Errorf("%d bytes wait in the socket of %s", queued, a.dev)
			}
			return err
		})
	}))
}

// queuedAt reads from the thread's namespace what the sockets on a port hold,
// as ss does (Recv-Q).
func queuedAt(port uint16, v6 bool) (bytes int, err error) {
	file := "/proc/thread-self/net/udp"
	if v6 {
		file += "6"
	}
	text, err := os.ReadFile(file)
	suffix := ":" + strings.ToUpper(hex.EncodeToString([]byte{byte(port >> 8), byte(port)}))
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.HasSuffix(f[1], suffix) {
			continue
		}
		_, queue, _ := strings.Cut(f[4], ":")
		n, err := strconv.ParseUint(queue, 16, 32)
		if err != nil {
			return 0, err
		}
		bytes += int(n)
	}
	return bytes, err
}

// accounted waits until every datagram of a flood was either delivered or
// dropped for one reason, and returns what was since then.
func (a *alone) accounted(t *testing.T, before account, sent int) (now account) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		now = a.account(t).since(before)
		if total := int(now.delivered) + now.lost(); total != sent {
			return fmt.Errorf("%d delivered and %d dropped of %d: %v", now.delivered, now.lost(), sent, now.drops)
		}
		return nil
	}))
	return now
}

// account is what became of received datagrams.
type account struct {
	delivered uint64
	drops     map[string]uint64
}

// transmitReasons are those of frames on their way out.
var transmitReasons = []string{"fdb_miss", "no_route", "send_error", "too_big", "ttl"}

func (a *alone) account(t *testing.T) account {
	t.Helper()
	return account{a.figures(t).rxPackets, a.drops(t)}
}

func (a account) since(b account) account {
	now := account{a.delivered - b.delivered, map[string]uint64{}}
	for reason, n := range a.drops {
		if n -= b.drops[reason]; n > 0 && !slices.Contains(transmitReasons, reason) {
			now.drops[reason] = n
		}
	}
	return now
}

func (a account) lost() (n int) {
	for _, d := range a.drops {
		n += int(d)
	}
	return n
}

// setTOS has the socket's datagrams bear a TOS.
func setTOS(t *testing.T, conn *net.UDPConn, v6 bool, tos int) {
	t.Helper()
	raw := must(conn.SyscallConn())(t)
	check(t, raw.Control(func(fd uintptr) {
		if v6 {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos)
		} else {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, tos)
		}
	}))
}
