//go:build !portable

package tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
)

var (
	macFar  = []byte{2, 0, 0, 0, 0, 9}
	macNear = []byte{2, 0, 0, 0, 0, 1}
)

// udpFrame is a frame from port 7 of 10.0.0.2 to port 5001 of 10.0.0.1.
func udpFrame(payload []byte, id uint16) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Id: id, Protocol: layers.IPProtocolUDP, SrcIP: []byte{10, 0, 0, 2}, DstIP: []byte{10, 0, 0, 1}}
	udp := &layers.UDP{SrcPort: 7, DstPort: 5001}
	return ipv4Frame(ip, udp, udp.SetNetworkLayerForChecksum(ip), payload)
}

// tcpFrame is the same of TCP, from a byte of the stream on.
func tcpFrame(payload []byte, id uint16, seq uint32, push bool) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Id: id, Protocol: layers.IPProtocolTCP, SrcIP: []byte{10, 0, 0, 2}, DstIP: []byte{10, 0, 0, 1}}
	tcp := &layers.TCP{SrcPort: 7, DstPort: 5001, Seq: seq, Ack: 1, ACK: true, PSH: push, Window: 500}
	return ipv4Frame(ip, tcp, tcp.SetNetworkLayerForChecksum(ip), payload)
}

func ipv4Frame(ip *layers.IPv4, l4 gopacket.SerializableLayer, err error, payload []byte) []byte {
	if err != nil {
		panic(err)
	}
	eth := &layers.Ethernet{SrcMAC: macFar, DstMAC: macNear, EthernetType: layers.EthernetTypeIPv4}
	f := serialize(eth, ip, l4, gopacket.Payload(payload))
	return f[:14+binary.BigEndian.Uint16(f[16:])]
}

// joined gives frames to a Coalescer and returns what it makes of them.
func joined(frames ...[]byte) []encap.Coalesced {
	c := &encap.Coalescer{TCP: true, UDP: true}
	for _, f := range frames {
		f = bytes.Clone(f)
		l := encap.ParseFrame(f)
		c.Add(&encap.Packet{Frame: f, GSO: encap.DescribeReceived(f, &l, 1500, 0)}, &l)
	}
	return c.Frames()
}

// series are frames that a Coalescer makes one super-frame of.
func series(tcp bool, n, size int) (frames [][]byte) {
	for i := range n {
		payload := bytes.Repeat([]byte{byte(i)}, size)
		if tcp {
			frames = append(frames, tcpFrame(payload, uint16(i), uint32(i*size), i == n-1))
		} else {
			frames = append(frames, udpFrame(payload, uint16(i)))
		}
	}
	return frames
}

// super is the series as one super-frame.
func super(t *testing.T, frames [][]byte) *encap.Coalesced {
	t.Helper()
	made := joined(frames...)
	if len(made) != 1 {
		t.Fatalf("%d frames were joined to %d", len(frames), len(made))
	}
	return &made[0]
}

// TestWrite: the kernel gets frames as they are.
func TestWrite(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := upIn(t, h, portable)
		c := lab.TestCapture(t, h, "tap0")
		var want [][]byte
		for i, n := range []int{14, 60, 1514} {
			want = append(want, frameOf(n, byte(i+1)))
			check(t, d.Write(&encap.Coalesced{Packet: encap.Packet{Frame: want[i]}}))
		}
		wantWritten(t, c, want...)
		if d.Writes.Load() != 3 || d.GSO.Load() != 0 || d.USO.Load() != 0 {
			t.Errorf("%d calls, %d and %d super-frames", d.Writes.Load(), d.GSO.Load(), d.USO.Load())
		}
	})
}

// TestWriteSuperFrame: with the header the kernel gets a super-frame whole,
// with one call; without it, the frames that it stands for.
func TestWriteSuperFrame(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		for name, tcp := range map[string]bool{"TCP": true, "UDP": false} {
			h := silentHost(t, "a")
			d := upIn(t, h, portable)
			c := lab.TestCapture(t, h, "tap0")
			frames := series(tcp, 20, 1000)
			f := super(t, frames)
			whole := bytes.Join(append([][]byte{f.Frame}, f.Tail...), nil)
			check(t, d.Write(f))
			if portable {
				wantWritten(t, c, frames...)
			} else {
				wantWritten(t, c, whole)
			}
			calls, counted := d.Writes.Load(), d.GSO.Load()+d.USO.Load()
			if portable && (calls != 20 || counted != 0) || !portable && (calls != 1 || counted != 1) {
				t.Errorf("%s: %d calls, %d super-frames are counted", name, calls, counted)
			}
		}
	})
}

// TestWriteArrives: the host's own sockets get what a UDP super-frame holds,
// datagram by datagram, with a checksum that is checked.
func TestWriteArrives(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := upIn(t, h, portable)
		check(t, h.AddAddr("tap0", netip.MustParsePrefix("10.0.0.1/24")))
		device, err := h.Device("tap0")
		check(t, err)
		fd := receiver(t, h)
		frames := append(series(false, 30, 1000), udpFrame([]byte("short"), 30))
		for _, f := range frames {
			copy(f, device.MAC)
		}
		check(t, d.Write(super(t, frames)))
		for i, f := range frames {
			b := make([]byte, 2000)
			n, err := readWithin(fd, b)
			if err != nil || !bytes.Equal(b[:n], f[42:]) {
				t.Fatalf("datagram %d: %d bytes, %v", i, n, err)
			}
		}
	})
}

func receiver(t *testing.T, h *lab.Host) (fd int) {
	t.Helper()
	check(t, h.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: 5001})
	}))
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// readWithin waits for a datagram, but not for ever.
func readWithin(fd int, b []byte) (n int, err error) {
	err = lab.Eventually(5*time.Second, func() error {
		n, _, err = unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
		return err
	})
	return n, err
}

// partial leaves only the sum of the pseudo-header in a UDP frame's checksum.
func partial(frame []byte) []byte {
	sum := 17 + len(frame) - 34
	for i := 26; i < 34; i += 2 {
		sum += int(binary.BigEndian.Uint16(frame[i:]))
	}
	binary.BigEndian.PutUint16(frame[40:], uint16(sum>>16+sum&0xffff))
	return frame
}

// TestWritePartial: a checksum that is left to be completed is completed, by
// the kernel or for it.
func TestWritePartial(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := upIn(t, h, portable)
		check(t, h.AddAddr("tap0", netip.MustParsePrefix("10.0.0.1/24")))
		device, err := h.Device("tap0")
		check(t, err)
		fd := receiver(t, h)
		frame := udpFrame([]byte("left to be completed"), 1)
		copy(frame, device.MAC)
		made := joined(partial(frame))
		if !made[0].GSO.NeedsCsum {
			t.Fatalf("described as %+v", made[0].GSO)
		}
		check(t, d.Write(&made[0]))
		b := make([]byte, 100)
		if n, err := readWithin(fd, b); err != nil || string(b[:n]) != "left to be completed" {
			t.Errorf("%q, %v", b[:n], err)
		}
	})
}

// TestWriteDown: what a device that is down does not take, it says.
func TestWriteDown(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := openIn(t, h, "tap0", portable)
		for _, f := range []*encap.Coalesced{
			{Packet: encap.Packet{Frame: frameOf(100, 1)}}, super(t, series(true, 5, 100)), super(t, series(false, 5, 100)),
		} {
			if err := d.Write(f); !errors.Is(err, ErrDown) {
				t.Errorf("%v, want ErrDown", err)
			}
		}
		if o := d.Offloads(); !portable && !o.TCP {
			t.Errorf("offloads %+v after a device was down", o)
		}
		check(t, h.SetUp("tap0"))
		check(t, d.Write(&encap.Coalesced{Packet: encap.Packet{Frame: frameOf(100, 1)}}))
	})
}

// TestWriteRefused: what is no frame is refused without harm.
func TestWriteRefused(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := upIn(t, h, portable)
		c := lab.TestCapture(t, h, "tap0")
		d.OnDowngrade = func(err error) { t.Error(err) }
		check := func(f encap.Coalesced) {
			t.Helper()
			if err := d.Write(&f); err == nil || errors.Is(err, ErrDown) || errors.Is(err, ErrClosed) {
				t.Errorf("%d bytes as %+v: %v", len(f.Frame), f.GSO, err)
			}
		}
		check(encap.Coalesced{Packet: encap.Packet{Frame: frameOf(20, 1)[:13]}})
		beyond := encap.GSO{NeedsCsum: true, CsumStart: 100, CsumOffset: 6}
		check(encap.Coalesced{Packet: encap.Packet{Frame: frameOf(60, 1), GSO: beyond}})
		if err := d.Write(&encap.Coalesced{Packet: encap.Packet{Frame: frameOf(60, 2)}}); err != nil {
			t.Error(err)
		}
		wantWritten(t, c, frameOf(60, 2))
	})
}

// TestDowngrade: when the kernel does not take a super-frame it is cut, and no
// other is tried.
func TestDowngrade(t *testing.T) {
	h := silentHost(t, "a")
	d := upIn(t, h, false)
	if !d.Offloads().UDP {
		t.Skip("no UDP super-frames")
	}
	c := lab.TestCapture(t, h, "tap0")
	var told []error
	d.OnDowngrade = func(err error) { told = append(told, err) }
	// 1000 segments are more than any kernel takes.
	payload := bytes.Repeat([]byte("ab"), 1000)
	f := partial(udpFrame(payload, 0))
	gso := encap.GSO{Type: encap.GSOUDP, Size: 2, NeedsCsum: true, CsumStart: 34, CsumOffset: 6, HeaderLen: 42}
	check(t, d.Write(&encap.Coalesced{Packet: encap.Packet{Frame: f, GSO: gso}}))
	var want [][]byte
	for i := range 1000 {
		want = append(want, udpFrame([]byte("ab"), uint16(i)))
	}
	if len(told) != 1 || !errors.Is(told[0], unix.EINVAL) {
		t.Errorf("told %v", told)
	}
	if o := d.Offloads(); o.TCP || o.UDP || !o.Header {
		t.Errorf("offloads %+v", o)
	}
	tcp := series(true, 5, 100)
	check(t, d.Write(super(t, tcp)))
	wantWritten(t, c, append(want, tcp...)...)
	wantComplete(t, c)
	if len(told) != 1 || d.GSO.Load()+d.USO.Load() != 0 {
		t.Errorf("told %d times, %d super-frames are counted", len(told), d.GSO.Load()+d.USO.Load())
	}
}

// wantComplete wants all checksums that the kernel got to be complete.
func wantComplete(t *testing.T, c *lab.Capture) {
	t.Helper()
	for i, f := range c.Frames() {
		if f.ChecksumPartial {
			t.Errorf("the checksum of frame %d was left to the kernel", i)
			return
		}
	}
}

// TestWriteWhatIsTaken: super-frames of a kind that the kernel does not take
// are cut, and the others are not.
func TestWriteWhatIsTaken(t *testing.T) {
	for _, offers := range []Offloads{{Header: true}, {Header: true, TCP: true}, {Header: true, UDP: true}} {
		h := silentHost(t, "a")
		d := upIn(t, h, false)
		d.offers = offers
		for _, tcp := range []bool{true, false} {
			c := lab.TestCapture(t, h, "tap0")
			frames := series(tcp, 5, 1000)
			f := super(t, frames)
			if tcp && offers.TCP || !tcp && offers.UDP {
				frames = [][]byte{bytes.Join(append([][]byte{f.Frame}, f.Tail...), nil)}
			}
			check(t, d.Write(f))
			wantWritten(t, c, frames...)
			if len(frames) > 1 {
				wantComplete(t, c)
			}
			c.Stop()
		}
	}
}

// TestWriteLargest: a super-frame of as many parts as a Coalescer makes.
func TestWriteLargest(t *testing.T) {
	modes(t, func(t *testing.T, portable bool) {
		h := silentHost(t, "a")
		d := upIn(t, h, portable)
		d.OnDowngrade = func(err error) { t.Error(err) }
		c := lab.TestCapture(t, h, "tap0")
		var want [][]byte
		for _, s := range [][][]byte{series(true, 512, 1), series(true, 512, 127), series(false, 64, 1000), series(true, 45, 1448)} {
			f := super(t, s)
			if portable {
				want = append(want, s...)
			} else {
				want = append(want, bytes.Join(append([][]byte{f.Frame}, f.Tail...), nil))
			}
			check(t, d.Write(f))
		}
		wantWritten(t, c, want...)
	})
}
