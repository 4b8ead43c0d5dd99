//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// PingOptions are the words of ping. The zero value sends one request of no
// payload and waits a second for its reply.
type PingOptions struct {
	Count   int           // -c; 0 = 1
	Size    int           // -s, bytes of ICMP payload
	DF      bool          // -M do: never fragment; otherwise -M dont, DF clear
	TOS     uint8         // -Q, ECN bits included
	TTL     int           // -t; 0 = the system's
	Timeout time.Duration // -W, for each reply; 0 = 1 s, more in an emulated machine
	Source  netip.Addr    // -I
}

// PingResult counts requests and replies. Err is the first error of sending,
// such as EMSGSIZE under DF, or of a reply that differs from its request.
type PingResult struct {
	Sent, Received int
	RTTs           []time.Duration // of each reply
	Err            error
}

// Lost returns an error unless every request was answered.
func (r PingResult) Lost() error {
	switch {
	case r.Err != nil:
		return r.Err
	case r.Received < r.Sent:
		return fmt.Errorf("%d of %d pings were not answered", r.Sent-r.Received, r.Sent)
	}
	return nil
}

// Ping sends echo requests from the host, each when the one before it was
// answered or given up.
func (h *Host) Ping(dst netip.Addr, o PingOptions) PingResult {
	o.Count, o.Timeout = max(o.Count, 1), orDefault(o.Timeout, pingWait())
	p, err := h.newPinger(dst, o)
	if err != nil {
		return PingResult{Err: err}
	}
	defer func() { _ = p.conn.Close() }()
	var r PingResult
	for seq := range o.Count {
		r.Sent++
		rtt, err := p.round(seq)
		switch {
		case err == nil:
			r.Received++
			r.RTTs = append(r.RTTs, rtt)
		case !errors.Is(err, os.ErrDeadlineExceeded) && r.Err == nil:
			r.Err = fmt.Errorf("ping %v from %s: %w", dst, h.Name, err)
		}
	}
	return r
}

// pingWait is how long a reply is waited for. A machine under emulation, as
// the tests without the kernel's vxlan have, can need seconds for one.
func pingWait() time.Duration {
	if os.Getenv("WEFT_NOVXLAN") != "" {
		return 20 * time.Second
	}
	return time.Second
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

type pinger struct {
	conn    net.PacketConn
	dst     *net.IPAddr
	proto   int // of ICMP, as icmp.ParseMessage wants it
	request icmp.Type
	reply   icmp.Type
	id      int
	payload []byte
	timeout time.Duration
	buf     []byte
}

func (h *Host) newPinger(dst netip.Addr, o PingOptions) (*pinger, error) {
	p := &pinger{
		dst:     &net.IPAddr{IP: dst.AsSlice(), Zone: dst.Zone()},
		id:      rand.IntN(1 << 16),
		payload: pattern(o.Size),
		timeout: o.Timeout,
		buf:     make([]byte, 1<<16),
	}
	network := "ip4:icmp"
	p.proto, p.request, p.reply = unix.IPPROTO_ICMP, ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply
	if dst.Is6() {
		network = "ip6:ipv6-icmp"
		p.proto, p.request, p.reply = unix.IPPROTO_ICMPV6, ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	source := ""
	if o.Source.IsValid() {
		source = o.Source.String()
	}
	lc := net.ListenConfig{Control: onSocket(func(fd int) error { return o.apply(fd, dst.Is6()) })}
	return p, h.Do(func() (err error) {
		p.conn, err = lc.ListenPacket(context.Background(), network, source)
		return err
	})
}

// onSocket adapts a function on a descriptor to what net's Control fields want.
func onSocket(f func(fd int) error) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = f(int(fd)) }), err)
	}
}

// apply sets the socket's options.
func (o PingOptions) apply(fd int, v6 bool) error {
	level, ttl, tos, discover := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS, unix.IP_MTU_DISCOVER
	mode := unix.IP_PMTUDISC_DONT
	if v6 {
		level, ttl, tos, discover = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS, unix.IPV6_MTU_DISCOVER
	}
	if o.DF {
		mode = unix.IP_PMTUDISC_DO // the same number for IPv6
	}
	errs := []error{unix.SetsockoptInt(fd, level, discover, mode)}
	if v6 && o.DF {
		errs = append(errs, unix.SetsockoptInt(fd, level, unix.IPV6_DONTFRAG, 1))
	}
	if o.TTL != 0 {
		errs = append(errs, unix.SetsockoptInt(fd, level, ttl, o.TTL))
	}
	if o.TOS != 0 {
		errs = append(errs, unix.SetsockoptInt(fd, level, tos, int(o.TOS)))
	}
	return errors.Join(errs...)
}

// round sends one request and waits for its reply.
func (p *pinger) round(seq int) (time.Duration, error) {
	m := icmp.Message{Type: p.request, Body: &icmp.Echo{ID: p.id, Seq: seq & 0xffff, Data: p.payload}}
	request, err := m.Marshal(nil) // the kernel fills ICMPv6's checksum in
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := p.conn.WriteTo(request, p.dst); err != nil {
		return 0, err
	}
	if err := p.conn.SetReadDeadline(start.Add(p.timeout)); err != nil {
		return 0, err
	}
	if err := p.await(seq & 0xffff); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

// await reads until the reply to seq comes: a raw socket gets all ICMP.
func (p *pinger) await(seq int) error {
	for {
		n, _, err := p.conn.ReadFrom(p.buf)
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(p.proto, p.buf[:n])
		if err != nil || m.Type != p.reply {
			continue
		}
		echo, ok := m.Body.(*icmp.Echo)
		if !ok || echo.ID != p.id || echo.Seq != seq {
			continue
		}
		if !bytes.Equal(echo.Data, p.payload) {
			return fmt.Errorf("the reply's %d bytes differ from the request's %d", len(echo.Data), len(p.payload))
		}
		return nil
	}
}
