//go:build !portable

package tap

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
)

// frameOf is an Ethernet frame of n bytes, all of them mark but for its type.
func frameOf(n int, mark byte) []byte {
	f := bytes.Repeat([]byte{mark}, n)
	copy(f, []byte{2, 0, 0, 0, 0, mark, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}) // a local experimental type
	return f
}

// injector sends frames out of tap0. One socket serves all:
// to close one takes the kernel milliseconds.
func injector(t *testing.T, h *lab.Host) func([]byte) {
	t.Helper()
	device, err := h.Device("tap0")
	check(t, err)
	var fd int
	check(t, h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	t.Cleanup(func() { unix.Close(fd) })
	to := &unix.SockaddrLinklayer{Ifindex: device.Index}
	return func(frame []byte) {
		t.Helper()
		check(t, unix.Sendto(fd, frame, 0, to))
	}
}

// wantBatch wants these frames, each with a headroom in front of it and all of
// them in one stretch of memory.
func wantBatch(t *testing.T, b *Batch, want ...[]byte) {
	t.Helper()
	if len(b.Packets) != len(want) {
		t.Fatalf("%d frames in the batch, want %d", len(b.Packets), len(want))
	}
	for i, p := range b.Packets {
		if !bytes.Equal(p.Frame, want[i]) {
			t.Fatalf("frame %d of %d is not the one that was sent", i, len(want))
		}
		if cap(p.Frame) != len(p.Frame) {
			t.Errorf("frame %d can be appended to, over what follows it", i)
		}
		d := b.Datagram(i)
		if len(d) != encap.HeaderLen+len(p.Frame) || &d[encap.HeaderLen] != &p.Frame[0] {
			t.Fatalf("datagram %d is not headroom and frame", i)
		}
		if i+1 < len(b.Packets) && &d[:cap(d)][len(d)] != &b.Datagram(i + 1)[0] {
			t.Errorf("there is a gap between frames %d and %d", i, i+1)
		}
	}
}

// TestRead: frames come as they are, one behind the other, whatever their
// size; the virtio-net header of one does not damage the one before it.
func TestRead(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d, b := upIn(t, h, portable), NewBatch()
		send := injector(t, h)
		var want [][]byte
		for i, n := range []int{14, 15, 60, 61, 1514, 1513, 100, 42, 1514} {
			want = append(want, frameOf(n, byte(i+1)))
			send(want[i])
		}
		readSome(t, d, b)
		wantBatch(t, b, want...)
		for i := range want { // writing headers does no damage either
			encap.PutHeader(b.Datagram(i), 0xffffff)
		}
		wantBatch(t, b, want...)
		check(t, d.Read(b))
		wantBatch(t, b)
	})
}

// TestReadBounds: a batch takes 64 frames, or no more once it has 64 KiB; the
// rest stays for the next.
func TestReadBounds(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d, b := openIn(t, h, "tap0", portable), NewBatch()
		check(t, h.SetMTU("tap0", 65521))
		check(t, h.SetUp("tap0"))
		send := injector(t, h)
		for _, c := range []struct {
			size, frames int
			batches      []int
		}{
			{100, 150, []int{64, 64, 22}},
			{30000, 5, []int{3, 2}},
			{65535, 3, []int{1, 1, 1}},
			{1014, 64, []int{64}},
			{2040, 33, []int{32, 1}},  // with their headroom exactly 64 KiB
			{1514, 64, []int{44, 20}}, // 43 and their headroom are less than 64 KiB
		} {
			var sent [][]byte
			for i := range c.frames {
				sent = append(sent, frameOf(c.size, byte(i)))
				send(sent[i])
			}
			for _, n := range c.batches {
				readSome(t, d, b)
				wantBatch(t, b, sent[:n]...)
				sent = sent[n:]
			}
			check(t, d.Read(b))
			wantBatch(t, b)
		}
	})
}

// TestReadCounts: every system call is counted, the one that finds nothing too.
func TestReadCounts(t *testing.T) {
	h := silentHost(t, "a")
	d, b := upIn(t, h, false), NewBatch()
	send, before := injector(t, h), d.Reads.Load()
	for i := range 5 {
		send(frameOf(100, byte(i)))
	}
	check(t, d.Read(b))
	if n := d.Reads.Load() - before; n != 6 {
		t.Errorf("5 frames were read with %d calls, want 6", n)
	}
}

// sender is a UDP socket of a host, connected through the device to a neighbour
// that nobody is.
func sender(t *testing.T, h *lab.Host, to netip.AddrPort, segment int) int {
	t.Helper()
	link, err := h.Netlink().LinkByName("tap0")
	check(t, err)
	check(t, h.Netlink().NeighAdd(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: to.Addr().AsSlice(), HardwareAddr: []byte{2, 0, 0, 0, 0, 9},
	}))
	var fd int
	check(t, h.Do(func() (err error) {
		family, address := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
		if to.Addr().Is4() {
			family, address = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
		}
		if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(unix.Connect(fd, address), unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, segment))
	}))
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// families are addresses for a host and a neighbour of it.
var families = map[string][2]string{
	"IPv4": {"10.0.0.1/24", "10.0.0.2:5001"},
	"IPv6": {"fd00::1/64", "[fd00::2]:5001"},
}

// TestReadOffloads: what the kernel leaves to the device is described, so that
// it can be cut and completed. Without the header the kernel does it itself.
func TestReadOffloads(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		for name, at := range families {
			h := quietHost(t, "a")
			d := upIn(t, h, portable)
			check(t, h.AddAddr("tap0", netip.MustParsePrefix(at[0])))
			payload := bytes.Repeat([]byte("0123456789"), 300)
			for segment, parts := range map[int]int{0: 1, 1000: 3} {
				size := len(payload)
				if segment == 0 {
					size = 1000 // one datagram
				}
				fd := sender(t, h, netip.MustParseAddrPort(at[1]), segment)
				_, err := unix.Write(fd, payload[:size])
				check(t, err)
				checkReadUDP(t, name, d, payload[:size], parts, portable)
				check(t, forgetNeighbours(h))
			}
		}
	})
}

func forgetNeighbours(h *lab.Host) error {
	link, err := h.Netlink().LinkByName("tap0")
	if err != nil {
		return err
	}
	all, err := h.Netlink().NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	for i := range all {
		if all[i].State == netlink.NUD_PERMANENT {
			err = errors.Join(err, h.Netlink().NeighDel(&all[i]))
		}
	}
	return err
}

// quietHost has IPv6, so its kernel may say something by itself.
func quietHost(t *testing.T, name string) *lab.Host {
	t.Helper()
	lab.NeedTUN(t)
	return lab.TestHost(t, name)
}

// checkReadUDP reads until it has the payload, in that many datagrams.
func checkReadUDP(t *testing.T, name string, d *Device, payload []byte, parts int, portable bool) {
	t.Helper()
	var got [][]byte
	b := NewBatch()
	before := d.USO.Load()
	check(t, lab.Eventually(5*time.Second, func() error {
		check(t, d.Read(b))
		for i := range b.Packets {
			got = append(got, udpPayloads(t, &b.Packets[i], portable)...)
		}
		if len(got) < parts {
			return errors.New("too few datagrams")
		}
		return nil
	}))
	if !bytes.Equal(bytes.Join(got, nil), payload) || len(got) != parts {
		t.Errorf("%s: %d datagrams, want %d, or they are not what was sent", name, len(got), parts)
	}
	if want := parts > 1 && d.Offloads().UDP; (d.USO.Load() > before) != want {
		t.Errorf("%s: %d UDP super-frames are counted", name, d.USO.Load()-before)
	}
}

// udpPayloads finishes a packet and returns the payloads of its datagrams to
// port 5001. Others are the kernel's own.
func udpPayloads(t *testing.T, p *encap.Packet, portable bool) (all [][]byte) {
	t.Helper()
	if portable && p.GSO != (encap.GSO{}) {
		t.Errorf("without the header the description is %+v", p.GSO)
	}
	for _, f := range finished(t, p) {
		packet := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
		if udp, ok := packet.TransportLayer().(*layers.UDP); ok && udp.DstPort == 5001 {
			all = append(all, udp.Payload)
			checkSums(t, f)
		}
	}
	return all
}

// finished are the frames that a packet stands for.
func finished(t *testing.T, p *encap.Packet) (frames [][]byte) {
	t.Helper()
	l := encap.ParseFrame(p.Frame)
	if p.GSO.Type == encap.GSONone {
		if p.GSO.NeedsCsum {
			check(t, encap.FinishChecksum(p, &l))
		}
		return [][]byte{bytes.Clone(p.Frame)}
	}
	segments, err := encap.CutSuperFrame(p, &l)
	check(t, err)
	for i := range segments.Count() {
		f := make([]byte, segments.HeaderLen())
		frames = append(frames, append(f, segments.Put(i, f)...))
	}
	return frames
}

// checkSums has gopacket compute the checksums again.
func checkSums(t *testing.T, frame []byte) {
	t.Helper()
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	var all []gopacket.SerializableLayer
	network := packet.NetworkLayer()
	for _, l := range packet.Layers() {
		switch l := l.(type) {
		case *layers.UDP:
			check(t, l.SetNetworkLayerForChecksum(network))
			all = append(all, l, gopacket.Payload(bytes.Clone(l.Payload)))
		case *layers.Ethernet, *layers.IPv4, *layers.IPv6:
			all = append(all, l.(gopacket.SerializableLayer))
		}
	}
	if again := serialize(all...)[:len(frame)]; !bytes.Equal(again, frame) {
		t.Errorf("gopacket makes\n%x of\n%x", again, frame)
	}
}

// TestReadGone: a device that was deleted from outside says so.
func TestReadGone(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d, b := upIn(t, h, portable), NewBatch()
		check(t, h.Delete("tap0"))
		if err := d.Read(b); !errors.Is(err, ErrClosed) || len(b.Packets) != 0 {
			t.Errorf("%d frames, %v; want ErrClosed", len(b.Packets), err)
		}
		if err := d.Write(&encap.Coalesced{Packet: encap.Packet{Frame: frameOf(100, 1)}}); !errors.Is(err, ErrClosed) {
			t.Errorf("written: %v; want ErrClosed", err)
		}
		if _, ns, err := d.Where(); err == nil {
			unix.Close(ns)
			t.Error("it is said to be somewhere")
		}
	})
}

// TestReadDown: a device that is down has nothing to read, and comes back.
func TestReadDown(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d, b := openIn(t, h, "tap0", portable), NewBatch()
		send := injector(t, h)
		for range 3 {
			if err := d.Read(b); err != nil || len(b.Packets) != 0 {
				t.Errorf("down: %d frames, %v", len(b.Packets), err)
			}
			check(t, h.SetUp("tap0"))
			send(frameOf(77, 7))
			readSome(t, d, b)
			wantBatch(t, b, frameOf(77, 7))
			check(t, h.SetDown("tap0"))
		}
	})
}

// TestBatchPut fills a batch with frames that were not read: they lie in it as if they
// had been, also where what is in front of them differs.
func TestBatchPut(t *testing.T) {
	t.Parallel()
	b := NewBatch()
	for range 2 {
		b.Reset()
		var want [][]byte
		for i := byte(1); !b.Full(); i++ {
			frame := frameOf(60+int(i), i)
			want = append(want, bytes.Clone(frame))
			b.Put(frame, encap.HeaderLen)
			clear(frame) // it is not the batch's
		}
		wantBatch(t, b, want...)
		if len(want) != maxFrames {
			t.Errorf("it was full with %d frames", len(want))
		}
	}
	b.Reset()
	for i, headroom := range []int{encap.HeaderLen, 0, MaxHeadroom, encap.HeaderLen} {
		b.Put(frameOf(100, byte(i)), headroom)
		d := b.Datagram(i)
		if len(d) != headroom+100 || &d[headroom] != &b.Packets[i].Frame[0] {
			t.Errorf("frame %d has %d bytes with what is in front of it", i, len(d))
		}
	}
	for i := range b.Packets {
		if !bytes.Equal(b.Packets[i].Frame, frameOf(100, byte(i))) {
			t.Errorf("frame %d is %x", i, b.Packets[i].Frame)
		}
		clear(b.Datagram(i)) // overwrites no other
	}
}
