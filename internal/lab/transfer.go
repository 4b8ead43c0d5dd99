//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// chunk is how much of a transfer is written, and compared, at a time.
const chunk = 64 << 10

// Transferred is a transfer that arrived as it was sent.
type Transferred struct {
	Bytes    int64
	Duration time.Duration
}

// BitsPerSecond is the rate of the transfer.
func (t Transferred) BitsPerSecond() float64 { return float64(t.Bytes) * 8 / t.Duration.Seconds() }

// Transfer sends n pseudo-random bytes over one TCP connection from one host
// to an address of another (port 0 takes any), and compares every byte that
// arrives with the one that was sent. It fails at the first that differs, and
// when nothing moves for ten seconds.
func Transfer(from, to *Host, addr netip.AddrPort, n int64) (Transferred, error) {
	fail := func(err error) (Transferred, error) {
		return Transferred{}, fmt.Errorf("transfer of %d bytes from %s to %s: %w", n, from.Name, to.Name, err)
	}
	streams, err := connect(from, to, addr, 1)
	if err != nil {
		return fail(err)
	}
	s := streams[0]
	defer s.close()
	seed := rand.Uint64()
	start := time.Now()
	sent := make(chan error, 1)
	go func() { sent <- send(s.client, newContent(seed), n) }()
	err = compare(s.server, newContent(seed), n)
	took := time.Since(start)
	if err != nil {
		s.close() // so that the sender ends
	}
	if err := errors.Join(err, <-sent); err != nil {
		return fail(err)
	}
	return Transferred{Bytes: n, Duration: took}, nil
}

// newContent is an endless stream of bytes that a seed determines.
func newContent(seed uint64) io.Reader {
	var key [32]byte
	for i := range key {
		key[i] = byte(seed >> (i % 8 * 8))
	}
	return rand.NewChaCha8(key)
}

// send writes n bytes of content and closes its direction.
func send(conn *net.TCPConn, content io.Reader, n int64) error {
	buf := make([]byte, chunk)
	for left := n; left > 0; left -= int64(len(buf)) {
		buf = buf[:min(left, chunk)]
		if _, err := io.ReadFull(content, buf); err != nil {
			return err
		}
		if err := conn.SetWriteDeadline(time.Now().Add(stallLimit)); err != nil {
			return err
		}
		if _, err := conn.Write(buf); err != nil {
			return fmt.Errorf("%d bytes before the end: %w", left, err)
		}
	}
	return conn.CloseWrite()
}

// compare reads to the end, and wants n bytes of content.
func compare(conn *net.TCPConn, content io.Reader, n int64) error {
	got, want := make([]byte, chunk), make([]byte, chunk)
	var at int64
	for {
		if err := conn.SetReadDeadline(time.Now().Add(stallLimit)); err != nil {
			return err
		}
		k, err := conn.Read(got)
		if errors.Is(err, io.EOF) && at == n {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
		if _, err := io.ReadFull(content, want[:k]); err != nil {
			return err
		}
		if !bytes.Equal(got[:k], want[:k]) {
			return fmt.Errorf("byte %d arrived changed", at+int64(firstDifference(got[:k], want[:k])))
		}
		if at += int64(k); at > n {
			return fmt.Errorf("%d bytes arrived", at)
		}
	}
}

// firstDifference is the index of the first byte in which a and b differ.
func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
