//go:build !portable

package underlay

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// portOf is the port that a socket is bound to.
func portOf(t *testing.T, s *Socket) uint16 {
	t.Helper()
	address, err := unix.Getsockname(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return uint16(a.Port)
	case *unix.SockaddrInet6:
		return uint16(a.Port)
	}
	t.Fatalf("address of %T", address)
	return 0
}

// listenTest listens on any free port, until the end of the test.
func listenTest(t *testing.T, ipv6 bool) *Receiver {
	t.Helper()
	r, err := Listen(ipv6, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.port = portOf(t, r.Socket)
	return r
}

// freePorts finds n ports in a row that nobody has.
func freePorts(t *testing.T, ipv6 bool, n uint16) (low uint16) {
	t.Helper()
	for low = 20000; low < 60000; low += n {
		if p, err := OpenPool(ipv6, low, low+n, fakeSocket(-1)); err == nil {
			got := p.Size()
			p.Close(nil)
			if got == int(min(n, poolSize)) {
				return low
			}
		}
	}
	t.Fatalf("no %d free ports in a row", n)
	return 0
}

// openTestPool is OpenPool until the end of the test.
func openTestPool(t *testing.T, ipv6 bool, low, high uint16, listener *Socket) *Pool {
	t.Helper()
	p, err := OpenPool(ipv6, low, high, listener)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(listener) })
	return p
}

// wantPorts wants the pool's ports to be so many different ones in the range.
func wantPorts(t *testing.T, p *Pool, low, high uint16, n int) {
	t.Helper()
	seen := map[uint16]bool{}
	for _, s := range p.sockets {
		port := portOf(t, s)
		if port < low || port >= high || seen[port] {
			t.Errorf("port %d, range is [%d, %d), others are %v", port, low, high, seen)
		}
		seen[port] = true
	}
	if len(seen) != n || p.Size() != n {
		t.Errorf("%d ports, pool says %d, want %d", len(seen), p.Size(), n)
	}
}

// TestPoolSizes: a range that is narrow gives its own size, every port of it.
func TestPoolSizes(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		listener := listenTest(t, ipv6).Socket
		low := freePorts(t, ipv6, 200)
		for _, n := range []uint16{1, 2, 5, 63, 64, 65, 200} {
			p, err := OpenPool(ipv6, low, low+n, listener)
			if err != nil {
				t.Fatalf("%d ports: %v", n, err)
			}
			wantPorts(t, p, low, low+n, int(min(n, 64)))
			p.Close(listener)
		}
	})
}

// TestPoolPassesOver: ports that others have are left out, for as long as
// there are enough; none of them is taken over.
func TestPoolPassesOver(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		listener := listenTest(t, ipv6).Socket
		low := freePorts(t, ipv6, 80)
		for _, port := range []uint16{low, low + 2, low + 4} {
			other, err := open(ipv6, port)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
		}
		wantPorts(t, openTestPool(t, ipv6, low, low+5, listener), low, low+5, 2)
		wantPorts(t, openTestPool(t, ipv6, low+5, low+80, listener), low+5, low+80, 64)
	})
}

// The families have ports of their own: what one holds is free for the other.
func TestPoolsOfBothFamilies(t *testing.T) {
	low := freePorts(t, false, 64)
	four := openTestPool(t, false, low, low+64, fakeSocket(-1))
	six := openTestPool(t, true, low, low+64, fakeSocket(-1))
	wantPorts(t, four, low, low+64, 64)
	wantPorts(t, six, low, low+64, 64)
}

// TestPoolAllTaken: the error says what was looked for.
func TestPoolAllTaken(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		listener := listenTest(t, ipv6).Socket
		low := freePorts(t, ipv6, 3)
		openTestPool(t, ipv6, low, low+3, listener)
		_, err := OpenPool(ipv6, low, low+3, listener)
		if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "source port") {
			t.Errorf("all taken: %v", err)
		}
		for _, high := range []uint16{low, low - 1} {
			if p, err := OpenPool(ipv6, low, high, listener); err == nil {
				t.Errorf("range [%d, %d) gives %d ports", low, high, p.Size())
				p.Close(listener)
			}
		}
	})
}

// TestPoolHasListenersPort: the port that is listened on may be a source port
// too; the listener stays open when the pool is closed.
func TestPoolHasListenersPort(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		low := freePorts(t, ipv6, 3)
		r, err := Listen(ipv6, low+1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p, err := OpenPool(ipv6, low, low+3, r.Socket)
		if err != nil {
			t.Fatal(err)
		}
		wantPorts(t, p, low, low+3, 3)
		p.Close(r.Socket)
		if got := portOf(t, r.Socket); got != low+1 {
			t.Errorf("the listener is on port %d", got)
		}
		// All others are free again.
		again := openTestPool(t, ipv6, low, low+3, fakeSocket(-1))
		wantPorts(t, again, low, low+3, 2)
	})
}

// TestPoolSocket: one hash means one socket, and every socket is meant by about
// as many hashes as any other.
func TestPoolSocket(t *testing.T) {
	low := freePorts(t, false, 64)
	for _, n := range []uint16{1, 3, 64} {
		p := openTestPool(t, false, low, low+n, fakeSocket(-1))
		met := map[*Socket]int{}
		const tries = 1 << 16
		for i := range uint32(tries) {
			hash := i << 16
			s := p.Socket(hash)
			if s != p.Socket(hash) {
				t.Fatalf("hash %#x: two sockets", hash)
			}
			met[s]++
		}
		p.Socket(0xffffffff)
		for s, times := range met {
			if times < tries/int(n)-2 || times > tries/int(n)+2 {
				t.Errorf("%d ports: port %d is met %d times in %d", n, s.port, times, tries)
			}
		}
		if len(met) != int(n) {
			t.Errorf("%d ports: %d are met", n, len(met))
		}
		p.Close(nil)
		p.sockets = nil
	}
}

// TestPoolSocketsDoNotReceive: what comes to a source port is dropped at once,
// without an ICMP error to whoever sent it.
func TestPoolSocketsDoNotReceive(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := listenTest(t, ipv6)
		low := freePorts(t, ipv6, 2)
		p := openTestPool(t, ipv6, low, low+2, r.Socket)
		from := openTest(t, ipv6)
		s, book := NewSender(), &ledger{}
		for range 3 {
			queue(s, loopback(from, book, low), filled(100, 1))
			s.Flush()
		}
		queue(s, loopback(from, book, r.port), filled(100, 2))
		s.Flush()
		receiveAll(t, r, 1) // so those before it have arrived too
		for _, socket := range p.sockets {
			if n, _, err := unix.Recvfrom(socket.fd, make([]byte, 100), unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("port %d received %d bytes, %v", socket.port, n, err)
			}
		}
		wantLedger(t, book, 4, 400, 0)
	})
}
