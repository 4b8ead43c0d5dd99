package interop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// defaultBuffer has weft's daemon leave the receive buffer as the system makes
// it: it holds three super-frames.
const defaultBuffer = "WEFT_RCVBUF=0"

// pid is the process of the host's daemon.
func (w *weft) pid(t *testing.T) int {
	t.Helper()
	inode, err := w.host.Inode()
	check(t, err)
	pid, err := readPid(filepath.Join(w.dir, fmt.Sprintf("%d.lock", inode)))
	check(t, err)
	return pid
}

// readPid reads the process id with which a daemon signs its lock.
func readPid(lock string) (int, error) {
	text, err := os.ReadFile(lock)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// hasSmallBuffer reports whether the system did not give as much as was asked
// for, which weft says once.
func (w *weft) hasSmallBuffer() bool { return strings.Contains(w.log(), "net.core.rmem_max") }

// TestTransferDefaultBuffer loses datagrams, and TCP makes up for them.
func TestTransferDefaultBuffer(t *testing.T) {
	for _, p := range pairings[:2] {
		t.Run(p.String(), func(t *testing.T) { transferDefaultBuffer(t, p) })
	}
}

func TestUserUserTransferDefaultBuffer(t *testing.T) { transferDefaultBuffer(t, pairing{user, user}) }

func transferDefaultBuffer(t *testing.T, p pairing) {
	a, b := connect(t, p, underlay4, func(a, b *spec) { a.Env, b.Env = []string{defaultBuffer}, []string{defaultBuffer} })
	check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
	m := newMeter(t, a, b)
	transfer(t, a, b, innerB[0], largeTransfer(t))
	transfer(t, b, a, innerA[0], largeTransfer(t))
	m.checkDrops(t, "socket_full")
	m.checkOffloads(t, tcpOffloads(p, offloadsOn, "on"))
}

// TestReceiveBuffer has a daemon that stands still miss a burst: what its
// socket cannot hold is counted, and the buffer that weft asks for by itself
// holds all of it.
func TestReceiveBuffer(t *testing.T) {
	for name, c := range map[string]struct {
		env      []string
		overflow bool
	}{
		"own": {nil, false}, "system's": {[]string{defaultBuffer}, true},
	} {
		for _, u := range underlays {
			t.Run(name+"/"+u.name, func(t *testing.T) {
				h, peer := lab.TestPair(t)
				v := addVTEP(t, h, user, spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Local: u.a, Remote: u.b}, Env: c.env})
				before := v.weft.stats("vxlan0")
				stopProcess(t, v.weft.pid(t))
				const burst = 2000
				sendMany(t, peer, netip.AddrPortFrom(u.a, 4789), vxlan(6, make([]byte, 1000)), burst)
				check(t, syscall.Kill(v.weft.pid(t), syscall.SIGCONT))
				var moved map[string]uint64
				check(t, lab.Eventually(waitLimit, func() error {
					moved = difference(v.weft.stats("vxlan0"), before).Drops
					if sum := moved["unknown_vni"] + moved["socket_full"]; sum != burst {
						return fmt.Errorf("%d datagrams counted, %d were sent: %v", sum, burst, moved)
					}
					return nil
				}))
				if overflowed := moved["socket_full"] > 0; overflowed != c.overflow && !v.weft.hasSmallBuffer() {
					t.Errorf("socket_full %d, unknown_vni %d", moved["socket_full"], moved["unknown_vni"])
				}
			})
		}
	}
}

// stopProcess stops a process that is not a child of this one, and waits until
// all of it stands.
func stopProcess(t *testing.T, pid int) {
	t.Helper()
	check(t, syscall.Kill(pid, syscall.SIGSTOP))
	check(t, lab.Eventually(waitLimit, func() error {
		states, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, file := range states {
			text, _ := os.ReadFile(file)
			if _, rest, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(rest, "T") {
				return fmt.Errorf("%s: %.20q", file, rest)
			}
		}
		return nil
	}))
}

// sendMany sends a datagram n times over.
func sendMany(t *testing.T, from *lab.Host, to netip.AddrPort, payload []byte, n int) {
	t.Helper()
	var c net.Conn
	check(t, from.Do(func() (err error) {
		c, err = (&net.Dialer{}).DialContext(context.Background(), "udp", to.String())
		return err
	}))
	defer c.Close()
	for range n {
		_, err := c.Write(payload)
		check(t, err)
	}
}
