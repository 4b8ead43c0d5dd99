//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// MaxDatagram is the largest UDP payload over IPv4.
const MaxDatagram = 65507

const (
	echoTries  = 5                      // of each datagram
	echoWait   = 300 * time.Millisecond // for each echo
	echoBuffer = 4 << 20                // bytes of each socket's receive buffer
)

// Echoed tells of the datagrams of an echo run.
type Echoed struct {
	Datagrams int        // answered
	Lost      int        // tries without an answer; each was sent again
	From      netip.Addr // where the last one came from, as who answered it saw it
}

// Echo sends a datagram of each size, one after the other, from one host to an
// address of another (port 0 takes any), which sends it back. What a datagram
// holds follows from its size, and both ends check it: a changed one is an
// error. A lost one is sent again, a few times, and counted.
func Echo(from, to *Host, addr netip.AddrPort, sizes []int) (Echoed, error) {
	return EchoVia(addr.Addr(), from, to, addr, sizes)
}

// EchoVia is Echo for a host that is asked by an address which is translated to
// its own on the way, as that of a service is. Echoes have to come from there.
func EchoVia(via netip.Addr, from, to *Host, addr netip.AddrPort, sizes []int) (Echoed, error) {
	var e Echoed
	run, err := newEchoRun(from, to, addr)
	if err != nil {
		return e, fmt.Errorf("echo from %s to %s: %w", from.Name, to.Name, err)
	}
	run.to = netip.AddrPortFrom(via, run.to.Port())
	served := make(chan error, 1)
	go func() { served <- run.serve() }()
	for _, size := range sizes {
		lost, e2 := run.exchange(size)
		e.Lost += lost
		if err = e2; err != nil {
			break
		}
		e.Datagrams++
	}
	_ = run.client.Close()
	_ = run.server.Close() // ends serve
	err = errors.Join(err, <-served)
	e.From = run.seen
	if err != nil {
		return e, fmt.Errorf("echo from %s to %s: %w", from.Name, to.Name, err)
	}
	return e, nil
}

type echoRun struct {
	client, server *net.UDPConn
	to             netip.AddrPort
	buf            []byte
	seen           netip.Addr // the source of the last datagram; serve's until it has ended
}

func newEchoRun(from, to *Host, addr netip.AddrPort) (*echoRun, error) {
	server, err := listenUDP(to, addr.String())
	if err != nil {
		return nil, err
	}
	// A wildcard would let the host answer from another of its addresses, and
	// that is no matter here; only the family must be right.
	wildcard := "0.0.0.0:0"
	if addr.Addr().Is6() {
		wildcard = "[::]:0"
	}
	client, err := listenUDP(from, wildcard)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	port := server.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return &echoRun{client: client, server: server, to: netip.AddrPortFrom(addr.Addr(), port), buf: make([]byte, 1<<16)}, nil
}

func listenUDP(h *Host, addr string) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: onSocket(setEchoBuffer)}
	var c net.PacketConn
	err := h.Do(func() (err error) {
		c, err = lc.ListenPacket(context.Background(), "udp", addr)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// setEchoBuffer is best effort, so that root gets what it wants and users the
// most they may have.
func setEchoBuffer(fd int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, echoBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, echoBuffer)
	}
	return nil
}

// serve returns datagrams until its socket is closed or one came changed.
func (r *echoRun) serve() error {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := r.server.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		r.seen = from.Addr().Unmap()
		if err == nil {
			err = checkPattern("on the way there", buf[:n])
		}
		if err == nil {
			_, err = r.server.WriteToUDPAddrPort(buf[:n], from)
		}
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
}

// exchange sends one datagram until its echo comes, and says how many tries
// were lost.
func (r *echoRun) exchange(size int) (lost int, err error) {
	for lost = range echoTries {
		if _, err := r.client.WriteToUDPAddrPort(pattern(size), r.to); err != nil {
			return lost, fmt.Errorf("datagram of %d bytes: %w", size, err)
		}
		err := r.await(size)
		if err == nil {
			return lost, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return lost, err
		}
	}
	return echoTries, fmt.Errorf("datagram of %d bytes: no echo to any of %d tries", size, echoTries)
}

// await reads until the echo of a datagram comes; late echoes of ones that
// were given up are checked too.
func (r *echoRun) await(size int) error {
	if err := r.client.SetReadDeadline(time.Now().Add(echoWait)); err != nil {
		return err
	}
	for {
		n, from, err := r.client.ReadFromUDPAddrPort(r.buf)
		if err != nil {
			return err
		}
		if from.Port() != r.to.Port() || from.Addr().Unmap().WithZone("") != r.to.Addr().WithZone("") {
			return fmt.Errorf("an echo of what went to %v comes from %v", r.to, from)
		}
		if err := checkPattern("on the way back", r.buf[:n]); err != nil {
			return err
		}
		if n == size {
			return nil
		}
	}
}

func checkPattern(where string, got []byte) error {
	want := pattern(len(got))
	if bytes.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("a datagram of %d bytes was changed %s, first at byte %d", len(got), where, firstDifference(got, want))
}
