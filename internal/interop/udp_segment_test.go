package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// run is what one call with UDP_SEGMENT sends: bytes in datagrams of a size,
// of which the last may be shorter.
type run struct{ size, bytes int }

// runs stay within the 64 datagrams that every kernel with UDP_SEGMENT takes.
var runs = []run{
	{1, 64}, {100, 6400}, {100, 6350}, {1000, 1001}, {1000, 2000}, {1000, 60000}, {999, 59999}, {1402, 45 * 1402}, {1402, 44*1402 + 1},
}

// TestUDPSegment has programs send runs of datagrams, which cross as
// super-frames: out of weft's device, into it, and the kernel's whole in one
// VXLAN datagram, with a UDP_GRO value that is about the inner ones.
func TestUDPSegment(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		if p != (pairing{user, user}) {
			t.Run(p.String(), func(t *testing.T) { segmentRuns(t, p) })
		}
	}
}

func TestUserUserUDPSegment(t *testing.T) {
	t.Parallel()
	segmentRuns(t, pairing{user, user})
}

func segmentRuns(t *testing.T, p pairing) {
	for _, word := range []string{"on", "off"} {
		if word == "off" && noVXLANExpected() {
			continue // before Linux 6.11 a device without checksum offload takes no runs from its own host
		}
		t.Run("offload-"+word, func(t *testing.T) {
			t.Parallel()
			a, b := connect(t, p, underlay4, byProcess(withOffload(word)))
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			for _, mode := range wireModes {
				t.Run(mode.name, func(t *testing.T) {
					mode.apply(t, a, b)
					m := newMeter(t, a, b)
					capture := lab.TestCapture(t, b.Host, "eth0")
					for i := range innerA {
						sendRuns(t, a.Host, b.Host, innerB[i].Addr())
						sendRuns(t, b.Host, a.Host, innerA[i].Addr())
					}
					checkSuperDatagrams(t, capture.Stop(), a, b, mode)
					m.checkDrops(t)
					if word == "off" {
						m.checkOffloads(t, engaged{})
					}
					for i, s := range m.moved() {
						if uso := s.Offload.DevUSO > 0; uso != (word == "on" && !m.ends[i].lacks("dev_uso")) {
							t.Errorf("%s: offloads %+v", m.ends[i].Name, s.Offload)
						}
					}
				})
			}
		})
	}
}

// checkSuperDatagrams wants what a kernel's device sent to be whole on a wire
// that carries it so, and cut on others. What weft sends is cut anyhow.
func checkSuperDatagrams(t *testing.T, frames []lab.Frame, a, b *vtep, mode wireMode) {
	t.Helper()
	whole := map[netip.Addr]bool{}
	for _, e := range dissect.VXLANs(frames, 4789) {
		udp, ok := e.Inner.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if ok && !mode.joined(e.Frame) && len(e.UDP.Payload) > 1500 && int(udp.Length)+20+14+8 >= len(e.UDP.Payload) {
			whole[outerSource(e)] = true
		}
	}
	for at, v := range map[netip.Addr]*vtep{underlay4.a: a, underlay4.b: b} {
		if want := v.kind == kernel && mode.name == offloadsOn.name; whole[at] != want {
			t.Errorf("%s sent a super-frame in one datagram: %v, want %v", v.Name, whole[at], want)
		}
	}
}

// sendRuns sends all runs from one host to an address of another, where every
// datagram must arrive as if it had been sent alone.
func sendRuns(t *testing.T, from, to *lab.Host, dst netip.Addr) {
	t.Helper()
	server := openUDP(t, to, netip.AddrPortFrom(dst, 0))
	port := server.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	if dst.Is4() {
		any6 = any4
	}
	client := openUDP(t, from, netip.AddrPortFrom(any6, 0))
	defer server.Close()
	defer client.Close()
	for i, r := range runs {
		content := bytes.Repeat([]byte{byte(i)}, r.bytes)
		for at := 0; at < r.bytes; at += r.size {
			content[at] = byte(at / r.size) // numbered, so that a swap is told from a change
		}
		check(t, setSegment(client, r.size))
		_, err := client.WriteToUDPAddrPort(content, netip.AddrPortFrom(dst, port))
		if err == nil {
			err = receiveRun(server, r.size, content)
		}
		if err != nil {
			t.Fatalf("%d bytes in datagrams of %d from %s to %v: %v", r.bytes, r.size, from.Name, dst, err)
		}
	}
}

// receiveRun wants each datagram of a run once. Their order is not weft's to
// keep: the veth and the kernel's device swap some where work moves from one
// processor to another.
func receiveRun(c *net.UDPConn, size int, content []byte) error {
	if err := c.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
		return err
	}
	buf, missing := make([]byte, 1<<16), map[int]bool{}
	for i := range (len(content) + size - 1) / size {
		missing[i] = true
	}
	for len(missing) > 0 {
		n, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("%d datagrams are missing: %w", len(missing), err)
		}
		i := int(buf[0])
		if !missing[i] || !bytes.Equal(buf[:n], content[i*size:min((i+1)*size, len(content))]) {
			return fmt.Errorf("a datagram of %d bytes with number %d came, which was not sent or has come before", n, i)
		}
		delete(missing, i)
	}
	return nil
}

// openUDP opens a socket that holds a whole run of small datagrams.
func openUDP(t *testing.T, h *lab.Host, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c net.PacketConn
	check(t, h.Do(func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", at.String())
		return err
	}))
	check(t, c.(*net.UDPConn).SetReadBuffer(4*mib))
	return c.(*net.UDPConn)
}

func setSegment(c *net.UDPConn, size int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), syscall.IPPROTO_UDP, unix.UDP_SEGMENT, size) })
	if err == nil {
		err = failed
	}
	return err
}
