package interop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// toNowhere sends a UDP datagram from a host's own address into its link, to an
// address that no route is for.
func (v *vtep) toNowhere(t *testing.T, src, dst netip.Addr, size int) {
	t.Helper()
	check(t, v.SendUDP(netip.AddrPortFrom(src, 40000), netip.AddrPortFrom(dst, 9), make([]byte, size), lab.DatagramOptions{}))
}

// Addresses of no node.
var noNode4, noNode6 = netip.MustParseAddr("10.9.99.5"), netip.MustParseAddr("fd09:0:0:99::5")

// TestNoRoute: a packet without a route is answered with ICMP from the device's
// address, as by flannel's proxy, which a socket of the sender hears of; it is
// counted, and the answers are as many as the kernel's own would be.
func TestNoRoute(t *testing.T) {
	t.Parallel()
	for name, connectWith := range map[string]func(*testing.T) (a, b *vtep){
		"udp": func(t *testing.T) (a, b *vtep) { return connectUDP(t, underlay4) },
		"l3":  func(t *testing.T) (a, b *vtep) { return connectL3(t, underlay4, user) },
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := connectWith(t)
			for i, to := range []netip.Addr{noNode4, noNode6} {
				own := nodesA[i].Addr()
				before := a.weft.stats(a.link)
				capture := lab.TestCapture(t, a.Host, a.link)
				a.toNowhere(t, own, to, 100)
				answer, err := capture.Wait(waitLimit, isUnreachable)
				check(t, err)
				checkUnreachable(t, dissect.Packet(answer), own, to)
				a.weft.drops(before, "no_route", 1)
				checkRefused(t, a, to)
				// Five more are answered of those that come at once.
				for range 30 {
					a.toNowhere(t, own, to, 10)
				}
				a.weft.drops(before, "no_route", 32)
				answers := 0
				for _, f := range capture.Stop() {
					if isUnreachable(f) {
						answers++
					}
				}
				if answers < 6 || answers > 8 { // one a second
					t.Errorf("%d of 32 packets are answered, want 6 and one a second", answers)
				}
			}
		})
	}
}

func isUnreachable(f lab.Frame) bool {
	p := dissect.Packet(f)
	if icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return icmp.TypeCode == layers.CreateICMPv4TypeCode(3, 0)
	}
	icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	return ok && icmp.TypeCode == layers.CreateICMPv6TypeCode(1, 0)
}

// checkUnreachable reads an answer to a packet between two addresses.
func checkUnreachable(t *testing.T, p gopacket.Packet, own, to netip.Addr) {
	t.Helper()
	check(t, dissect.VerifyChecksums(p))
	flow := p.NetworkLayer().NetworkFlow()
	if src, dst := flow.Endpoints(); !slices.Equal(src.Raw(), own.AsSlice()) || !slices.Equal(dst.Raw(), own.AsSlice()) {
		t.Errorf("from %v to %v, want the device's %v", src, dst, own)
	}
	quoted := p.NetworkLayer().LayerPayload()[8:]
	first := gopacket.Decoder(layers.LayerTypeIPv6)
	if ip, ok := p.NetworkLayer().(*layers.IPv4); ok {
		first = layers.LayerTypeIPv4
		if ip.TTL != 8 || ip.Id != 0 || len(quoted) != 28 {
			t.Errorf("TTL %d, identification %d, %d bytes quoted", ip.TTL, ip.Id, len(quoted))
		}
	}
	about := gopacket.NewPacket(quoted, first, gopacket.NoCopy)
	if dst := about.NetworkLayer().NetworkFlow().Dst(); !slices.Equal(dst.Raw(), to.AsSlice()) {
		t.Errorf("about a packet to %v, want %v", dst, to)
	}
}

// checkRefused has the kernel take the answer for a socket's, and tell that.
func checkRefused(t *testing.T, a *vtep, to netip.Addr) {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		level, option := unix.IPPROTO_IP, unix.IP_RECVERR
		if to.Is6() {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		}
		control := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) })
		return errors.Join(control, err)
	}}
	var conn net.Conn
	check(t, a.Do(func() (err error) {
		conn, err = dialer.Dial("udp", netip.AddrPortFrom(to, 9).String())
		return err
	}))
	defer conn.Close()
	_, err := conn.Write([]byte("to nowhere"))
	check(t, err)
	check(t, conn.SetReadDeadline(time.Now().Add(waitLimit)))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("the socket to %v hears %v, want that the network is unreachable", to, err)
	}
}

// TestNoRouteNotAnswered: about ICMP, later fragments and groups there is none,
// and without an address on the device it comes from the one that stands for
// none.
func TestNoRouteNotAnswered(t *testing.T) {
	t.Parallel()
	a, _ := connectUDP(t, underlay4)
	before := a.weft.stats(a.link)
	capture := lab.TestCapture(t, a.Host, a.link)
	if r := a.Ping(noNode4, lab.PingOptions{Timeout: 1}); r.Received > 0 || r.Err != nil {
		t.Errorf("ping: %+v", r)
	}
	a.weft.drops(before, "no_route", 1)
	a.toNowhere(t, nodesA[0].Addr(), noNode4, 3000) // three fragments
	a.weft.drops(before, "no_route", 4)
	check(t, a.DelAddr(a.link, netip.PrefixFrom(nodesA[0].Addr(), 32)))
	answers := func() (from []string) {
		for _, f := range capture.Frames() {
			if isUnreachable(f) {
				from = append(from, dissect.Packet(f).NetworkLayer().NetworkFlow().Src().String())
			}
		}
		return from
	}
	check(t, lab.Eventually(waitLimit, func() error {
		if got := answers(); !slices.Equal(got, []string{"10.9.1.0"}) {
			return fmt.Errorf("answers from %v, want one, about the first fragment", got)
		}
		return nil
	}))
	check(t, a.AddRoute(overlay4, a.link, netip.Addr{})) // went with the address
	check(t, lab.Eventually(waitLimit, func() error {
		a.toNowhere(t, underlay4.a, noNode4, 10)
		if got := answers(); !slices.Contains(got, "192.0.0.8") {
			return fmt.Errorf("answers from %v", got)
		}
		return nil
	}))
}
