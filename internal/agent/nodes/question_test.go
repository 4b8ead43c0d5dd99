package nodes

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// question is what a host sends to an address and wants to have back.
type question struct {
	from *lab.Host
	dst  netip.Addr // that is asked
	to   *lab.Host  // who answers
	at   netip.Addr // its own address
	as   netip.Addr // whom it has to see asking
}

// toService is one to the service, behind which the second container is.
func (o *overlay) toService(from *lab.Host, as netip.Addr) question {
	return question{from, service, o.containers[1], o.addrs[1], as}
}

const questionBytes = 4 << 20

// overTCP sends bytes and takes them back at the same time.
func (q question) overTCP() error {
	var l net.Listener
	err := q.to.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(q.at, 0).String())
		return err
	})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- q.sendBack(l) }()
	err = q.ask(l.Addr().(*net.TCPAddr).AddrPort().Port())
	l.Close()
	if err = errors.Join(err, <-served); err != nil {
		return fmt.Errorf("TCP from %s to %v: %w", q.from.Name, q.dst, err)
	}
	return nil
}

// sendBack takes one connection, and returns what comes by it.
func (q question) sendBack(l net.Listener) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return err
	}
	if _, err := io.Copy(conn, conn); err != nil {
		return err
	}
	return q.seen(conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
}

// seen wants the answering host to see whom it has to.
func (q question) seen(from netip.Addr) error {
	if from.Unmap() != q.as {
		return fmt.Errorf("%s sees %v, want %v", q.to.Name, from, q.as)
	}
	return nil
}

func (q question) ask(port uint16) error {
	var conn net.Conn
	err := q.from.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", netip.AddrPortFrom(q.dst, port).String(), soon)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		return err
	}
	sent, got := sha256.New(), sha256.New()
	written := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.MultiWriter(conn, sent), rand.NewChaCha8([32]byte{}), questionBytes)
		written <- errors.Join(err, conn.(*net.TCPConn).CloseWrite())
	}()
	n, err := io.Copy(got, conn)
	err = errors.Join(err, <-written)
	if err == nil && !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		err = fmt.Errorf("of %d bytes %d come back, or others", questionBytes, n)
	}
	return err
}

// overUDP sends datagrams, and takes each back before the next.
func (q question) overUDP(sizes ...int) error {
	e, err := lab.EchoVia(q.dst, q.from, q.to, netip.AddrPortFrom(q.at, 0), sizes)
	if err == nil {
		err = q.seen(e.From)
	}
	if err != nil {
		return fmt.Errorf("UDP from %s to %v: %w", q.from.Name, q.dst, err)
	}
	return nil
}

// both asks by TCP, and by datagrams that fit into a packet and that do not: those
// around the MTU of the tunnels and of the underlay, and the largest. Nothing may come
// with a wrong checksum: what is lost is sent again.
func (q question) both() error {
	err := errors.Join(q.overTCP(), q.overUDP(0, 1, 512, 1422, 1423, 1444, 1445, 1472, 1473, 4000, 9000, lab.MaxDatagram))
	for _, h := range []*lab.Host{q.from, q.to} {
		wrong, e := h.BadChecksums()
		if e == nil && wrong > 0 {
			e = fmt.Errorf("%s: %d packets with a wrong checksum, from %s to %v", h.Name, wrong, q.from.Name, q.dst)
		}
		err = errors.Join(err, e)
	}
	return err
}
