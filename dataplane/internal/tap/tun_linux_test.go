//go:build !portable

package tap

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
)

// openTUNIn opens a TUN device in a host, until the end of the test, and brings
// it up.
func openTUNIn(t *testing.T, h *lab.Host, portable bool, headroom int) *Device {
	t.Helper()
	var d *Device
	check(t, h.Do(func() (err error) {
		d, err = OpenTUN("tun0", portable, headroom)
		return err
	}))
	t.Cleanup(func() { d.Close() })
	check(t, h.SetUp("tun0"))
	return d
}

// packetOf is a UDP packet with n bytes of payload.
func packetOf(n int, mark byte) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
	udp := &layers.UDP{SrcPort: 1000, DstPort: 2000}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		panic(err)
	}
	return serialize(ip, udp, gopacket.Payload(bytes.Repeat([]byte{mark}, n)))
}

// TestOpenTUN: what the kernel makes is a point-to-point device without
// addresses.
func TestOpenTUN(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := openTUNIn(t, h, portable, 0)
		device, err := h.Device("tun0")
		check(t, err)
		if device.Flags&net.FlagPointToPoint == 0 || len(device.MAC) > 0 {
			t.Errorf("%+v", device)
		}
		if o := d.Offloads(); o.Header == portable || o.TCP == portable {
			t.Errorf("offloads %+v", o)
		}
		name, ns, err := d.Where()
		check(t, err)
		unix.Close(ns)
		if name != "tun0" {
			t.Errorf("it is %q", name)
		}
		check(t, d.Close())
		wantOnly(t, h)
	})
}

// TestReadTUN: packets come as they are, with the room that was asked for and
// no other gap, whatever their size.
func TestReadTUN(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		for _, headroom := range []int{0, 1, 8, 10, MaxHeadroom} {
			h := silentHost(t, fmt.Sprint("a", headroom))
			d, b := openTUNIn(t, h, portable, headroom), NewBatch()
			device, err := h.Device("tun0")
			check(t, err)
			var fd int
			check(t, h.Do(func() (err error) {
				fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
				return err
			}))
			defer unix.Close(fd)
			var want [][]byte
			for i, n := range []int{0, 1, 100, 1472, 1471, 0, 1472} {
				want = append(want, packetOf(n, byte(i+1)))
				check(t, unix.Sendto(fd, want[i], 0, &unix.SockaddrLinklayer{Ifindex: device.Index, Protocol: 8})) // ETH_P_IP on the wire
			}
			readSome(t, d, b)
			for range 2 {
				if len(b.Packets) != len(want) {
					t.Fatalf("%d packets, want %d", len(b.Packets), len(want))
				}
				for i, p := range b.Packets {
					datagram := b.Datagram(i)
					if !bytes.Equal(p.Frame, want[i]) || len(datagram) != headroom+len(p.Frame) || &datagram[headroom] != &p.Frame[0] {
						t.Fatalf("headroom %d: packet %d is not the one that was sent", headroom, i)
					}
					if i+1 < len(want) && &datagram[:cap(datagram)][len(datagram)] != &b.Datagram(i + 1)[0] {
						t.Errorf("headroom %d: a gap behind packet %d", headroom, i)
					}
					clear(datagram[:headroom]) // does no damage
				}
			}
		}
	})
}

// TestTransferTUN moves a checked TCP stream through two TUN devices, each with
// the header and without, over both families.
func TestTransferTUN(t *testing.T) {
	for name, portable := range map[string][2]bool{
		"header to header": {false, false}, "header to portable": {false, true}, "portable to header": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := quietHost(t, "a"), quietHost(t, "b")
			from, to := openTUNIn(t, a, portable[0], 0), openTUNIn(t, b, portable[1], encap.HeaderLen)
			w := startWire(t, from, to)
			defer w.end()
			for i, prefix := range []string{"10.0.0.%d/24", "fd00::%d/64"} {
				near, far := netip.MustParsePrefix(fmt.Sprintf(prefix, 1)), netip.MustParsePrefix(fmt.Sprintf(prefix, 2))
				check(t, a.AddAddr("tun0", near))
				check(t, b.AddAddr("tun0", far))
				before := [2]uint64{from.GSO.Load(), to.GSO.Load()}
				_, err := lab.Transfer(a, b, netip.AddrPortFrom(far.Addr(), 0), int64(8-4*i)<<20)
				check(t, err)
				_, err = lab.Transfer(b, a, netip.AddrPortFrom(near.Addr(), 0), 1<<20)
				check(t, err)
				wantEngaged(t, from, before[0])
				wantEngaged(t, to, before[1])
			}
		})
	}
}
