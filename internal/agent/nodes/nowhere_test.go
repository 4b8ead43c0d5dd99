package nodes

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What a container sends to an address of the network that no node has is answered
// as by flannel's proxy: that the network is unreachable, from the device's address,
// with TTL 8, and about a packet from which the host alone took a TTL. Neither does
// the tunnel take any of what reaches another container.
func TestNoNode(t *testing.T) {
	t.Parallel()
	o := newOverlay(t, overUDP, "user", "user")
	a := answered{
		from: o.nodes[0].file().Subnet.Masked().Addr(), to: o.addrs[0],
		nowhere: netip.MustParseAddr("10.1.200.5"), // subnets are among the first hundred
	}
	n, c := o.nodes[0], o.containers[0]
	device, container := lab.TestCapture(t, n.Host, "flannel0"), lab.TestCapture(t, c, "eth0")
	check(t, c.SendUDP(netip.AddrPortFrom(a.to, 40000), netip.AddrPortFrom(a.nowhere, 9), make([]byte, 100), lab.DatagramOptions{TTL: 64}))
	a.check(t, device, 8)
	a.check(t, container, 7)

	err := c.Do(func() error {
		conn, err := net.DialTimeout("tcp4", netip.AddrPortFrom(a.nowhere, 80).String(), soon)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("connecting: %v, want that the network is unreachable", err)
	}

	least := lab.PingOptions{TTL: 3} // one for each host, and one to arrive with
	eventually(t, func() error { return c.Ping(o.addrs[1], least).Lost() })
}

// answered is a packet to nowhere and its answer.
type answered struct{ from, to, nowhere netip.Addr }

// check awaits the answer at a place.
func (a *answered) check(t *testing.T, at *lab.Capture, ttl uint8) {
	t.Helper()
	f, err := at.Wait(soon, func(f lab.Frame) bool {
		icmp, ok := dissect.Packet(f).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		return ok && icmp.TypeCode == layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeNet)
	})
	check(t, err)
	p := dissect.Packet(f)
	check(t, dissect.VerifyChecksums(p))
	ip := p.NetworkLayer().(*layers.IPv4)
	if ip.SrcIP.String() != a.from.String() || ip.DstIP.String() != a.to.String() || ip.TTL != ttl {
		t.Errorf("from %v to %v with TTL %d, want %v to %v with %d", ip.SrcIP, ip.DstIP, ip.TTL, a.from, a.to, ttl)
	}
	quoted := gopacket.NewPacket(ip.Payload[8:], layers.LayerTypeIPv4, gopacket.NoCopy)
	about := quoted.NetworkLayer().(*layers.IPv4)
	if about.SrcIP.String() != a.to.String() || about.DstIP.String() != a.nowhere.String() || about.TTL != 63 || len(ip.Payload) != 8+28 {
		t.Errorf("%d bytes about %v -> %v with TTL %d, want 36 about %v -> %v with 63", len(ip.Payload), about.SrcIP, about.DstIP, about.TTL, a.to, a.nowhere)
	}
}
