package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestShortcutSuperTransfer has TCP go past weft to the kernel's device and back,
// over wires that carry super-frames whole and over others, and looks at the
// outer checksum of each datagram where it enters the wire.
func TestShortcutSuperTransfer(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for _, mode := range []wireMode{offloadsOn, offloadsOff, wireLike} {
			t.Run(u.name+"/"+mode.name, func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, pairing{user, kernel}, u, nil)
				mode.apply(t, a, b)
				check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
				d, err := a.Device(a.link)
				check(t, err)
				before, wire := a.figures(t), lab.TestCapture(t, a.Host, "eth0")
				seen, looked := outerSums{u: u, mode: mode, mtu: d.MTU}, 0
				check(t, lab.Eventually(2*waitLimit, func() error {
					for i := range innerB {
						transfer(t, a, b, innerB[i], mib+1)
						transfer(t, b, a, innerA[i], mib+1)
					}
					frames := wire.Frames()
					for _, e := range dissect.VXLANs(frames[looked:], 4789) {
						if e.Frame.Outgoing {
							seen.look(t, e)
						}
					}
					looked = len(frames)
					return seen.engaged(a.figures(t).since(before))
				}))
				if now := a.figures(t).since(before); now.lost(figures{}) > 0 {
					t.Errorf("lost: %+v", now.weft)
				}
			})
		}
	}
}

// outerSums counts datagrams by what is in their outer UDP checksum.
type outerSums struct {
	u    underlay
	mode wireMode
	mtu  int // of the link's device
	word string

	sumKinds
}

// sumKinds are: none, that of one of the segments to be cut, one that is left to
// a device, and one that is right as it is.
type sumKinds struct{ zero, ofSegment, left, finished int }

// engaged returns an error until the kernel has carried something each way, and
// super-frames without a checksum where these may be.
func (s *outerSums) engaged(now figures) error {
	if receivedShort(now) < now.rxPackets/4 || sentShort(now) < 16 || s.zero == 0 && s.u == underlay4 && s.mode.tunnels() {
		return fmt.Errorf("%+v, and %d super-frames without an outer checksum", now.weft.Offload, s.zero)
	}
	return nil
}

// look counts one. What is left to a device is no error, on a wire that takes it.
func (s *outerSums) look(t *testing.T, e *dissect.Encapsulated) {
	t.Helper()
	frame, mss, payload := slices.Clone(e.Frame.Data), 0, 0
	if tcp, ok := e.Inner.TransportLayer().(*layers.TCP); ok {
		head := len(e.Inner.Data()) - len(tcp.Payload)
		mss, payload = s.mtu+etherOf(e)-head, len(tcp.Payload)
	}
	super := mss > 0 && payload > mss
	switch {
	case super && !s.mode.tunnels():
		t.Fatalf("a frame of %d bytes on a wire that does not carry it whole", len(frame))
	case e.UDP.Checksum == 0:
		if !super || payload%mss == 0 || s.u == underlay6 || s.word != "" {
			t.Fatalf("no outer checksum around %d bytes of TCP, %d each: %v", payload, mss, e.Outer)
		}
		s.zero++
	case isPartial(e.Outer):
		s.left++
	case !super:
		s.check(t, frame, e)
		s.finished++
	case payload%mss != 0:
		t.Fatalf("an outer checksum of one segment around %d bytes of TCP, %d each", payload, mss)
	default:
		s.check(t, frame[:len(frame)-payload+mss], e)
		s.ofSegment++
	}
}

// check verifies a datagram, or the first that will be cut from one, once what
// is left to devices is done.
func (s *outerSums) check(t *testing.T, datagram []byte, e *dissect.Encapsulated) {
	t.Helper()
	at := len(e.Frame.Data) - len(e.Inner.Data())
	udp, first := at-8-len(e.Header), gopacket.Decoder(layers.LayerTypeEthernet)
	outer, inner, packet := datagram[14:udp], datagram[at:], datagram[at+etherOf(e):]
	cut := len(e.Frame.Data) - len(datagram)
	shorten := func(b []byte) { binary.BigEndian.PutUint16(b, binary.BigEndian.Uint16(b)-uint16(cut)) }
	shorten(datagram[udp+4:])
	for _, ip := range [][]byte{outer, packet} {
		if ip[0]>>4 == 6 {
			shorten(ip[4:])
			continue
		}
		shorten(ip[2:])
		clear(ip[10:12])
		binary.BigEndian.PutUint16(ip[10:], ^lab.OnesSum(ip[:20]))
	}
	if etherOf(e) == 0 {
		first = ipDecoder(inner)
	}
	p := gopacket.NewPacket(inner, first, gopacket.NoCopy)
	if segment, proto, _ := segmentOf(p); segment != nil && (cut > 0 || isPartial(p)) {
		finish(inner[len(inner)-len(segment):], p, proto)
	}
	// gopacket looks into datagrams to port 4789 only.
	err := errors.Join(dissect.VerifyChecksums(dissect.Packet(lab.Frame{Data: datagram})), dissect.VerifyChecksums(gopacket.NewPacket(inner, first, gopacket.NoCopy)))
	if err != nil {
		t.Fatalf("%d bytes of %d: %v", len(datagram), len(e.Frame.Data), err)
	}
}

// etherOf is the bytes of the inner Ethernet header, which bare packets have not.
func etherOf(e *dissect.Encapsulated) int {
	if e.VXLAN == nil {
		return 0
	}
	return 14
}

// finish does what a device does for an inner packet.
func finish(segment []byte, p gopacket.Packet, proto layers.IPProtocol) {
	at := 16
	if proto == layers.IPProtocolUDP {
		at = 6
	}
	clear(segment[at : at+2])
	src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
	pseudo := slices.Concat(src.Raw(), dst.Raw(), []byte{0, byte(proto), byte(len(segment) >> 8), byte(len(segment))})
	binary.BigEndian.PutUint16(segment[at:], ^lab.OnesSum(pseudo, segment))
}

// superWords are words that say what is in outer checksums.
var superWords = []string{"", "udpcsum", "noudpcsum udp6zerocsumtx"}

// TestShortcutSuperFrame has super-frames go past weft whose segments are all of
// one length, and others whose last segment is shorter. With the latter there is
// no checksum that is right for all: where there may be none, they go without,
// and otherwise they are cut before.
func TestShortcutSuperFrame(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for _, mode := range []wireMode{offloadsOn, offloadsOff, wireLike} {
			for _, word := range superWords {
				if word != "" && mode.name == offloadsOff.name {
					continue // as wire-like
				}
				t.Run(fmt.Sprintf("%s/%s/%s", u.name, mode.name, word), func(t *testing.T) {
					t.Parallel()
					a := newAlone(t, user, u, func(_ *lab.Host, s *spec) { s.Words = append(s.Words, strings.Fields(word)...) })
					mode.apply(t, a.vtep)
					d, err := a.Device(a.link)
					check(t, err)
					c := superCase{alone: a, sums: outerSums{u: u, mode: mode, mtu: d.MTU, word: word}, without: strings.HasPrefix(word, "no")}
					c.bare = c.without || word == "" && u == underlay4 && mode.tunnels()
					for _, v6 := range []bool{false, true} {
						c.check(t, v6)
					}
				})
			}
		}
	}
}

// superCase is a link and what it does with super-frames.
type superCase struct {
	*alone
	sums    outerSums
	without bool // nothing has an outer checksum
	bare    bool // super-frames with a shorter segment have none
}

// check sends one of either kind until both go past the process.
func (c *superCase) check(t *testing.T, v6 bool) {
	t.Helper()
	const segments = 3
	p := inner{v6: v6, tcp: true, srcPort: 1000, dstPort: 2000}
	mss := c.sums.mtu + 14 - len(p.frame(t, 1))
	even, odd := superFrame(t, p, segments*mss), superFrame(t, p, segments*mss+1)
	check(t, lab.Eventually(waitLimit, func() error {
		before, seen := c.figures(t), len(c.wire.Frames())
		check(t, errors.Join(c.sendSuper(even, mss, v6), c.sendSuper(odd, mss, v6)))
		var all []*dissect.Encapsulated
		check(t, lab.Eventually(waitLimit, func() error {
			bytes := 0
			all = dissect.VXLANs(c.wire.Frames()[seen:], c.port)
			for _, e := range all {
				bytes += len(e.Inner.TransportLayer().LayerPayload())
			}
			if bytes < 2*segments*mss+1 {
				return fmt.Errorf("%d bytes are on the wire, in %d datagrams", bytes, len(all))
			}
			return nil
		}))
		sums := c.sums
		for _, e := range all {
			if c.without && e.UDP.Checksum == 0 {
				continue
			}
			sums.look(t, e)
		}
		n := sentShort(c.figures(t)) - sentShort(before)
		if n > 2 || c.without != (sums.sumKinds == sumKinds{}) {
			t.Fatalf("%d of two super-frames went past the process: %+v", n, sums)
		}
		if n < 2 {
			return fmt.Errorf("%d of two super-frames went past the process", n)
		}
		if want := c.want(segments); sums.sumKinds != want {
			t.Fatalf("on the wire are %+v, want %+v", sums, want)
		}
		return nil
	}))
}

// want is what should be on the wire of an even super-frame and one that has
// another byte.
func (c *superCase) want(segments int) sumKinds {
	switch {
	case c.without:
		return sumKinds{}
	case !c.sums.mode.tunnels():
		return sumKinds{finished: segments + segments + 1}
	case c.bare:
		return sumKinds{ofSegment: 1, zero: 1}
	}
	return sumKinds{ofSegment: 1, finished: segments + 1}
}

// superFrame is a frame of TCP with so much payload, of which only the
// pseudo-header is summed up.
func superFrame(t *testing.T, p inner, size int) []byte {
	t.Helper()
	p.size = size
	f := p.frame(t, 1)
	head := len(f) - size - 20
	src, dst := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.NoCopy).NetworkLayer().NetworkFlow().Endpoints()
	length := uint16(20 + size)
	binary.BigEndian.PutUint16(f[head+16:], lab.OnesSum(src.Raw(), dst.Raw(), []byte{0, 6, byte(length >> 8), byte(length)}))
	return f
}

// sendSuper sends a super-frame of TCP out through the link, as its host would.
func (c *superCase) sendSuper(frame []byte, mss int, v6 bool) error {
	d, err := c.Device(c.link)
	if err != nil {
		return err
	}
	// struct virtio_net_hdr (linux/virtio_net.h), in the machine's byte order.
	kind, start := uint8(unix.VIRTIO_NET_HDR_GSO_TCPV4), uint16(34)
	if v6 {
		kind, start = unix.VIRTIO_NET_HDR_GSO_TCPV6, 54
	}
	header := []byte{unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, kind}
	for _, v := range []uint16{start + 20, uint16(mss), start, 16} {
		header = binary.NativeEndian.AppendUint16(header, v)
	}
	return c.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			return err
		}
		proto := binary.NativeEndian.Uint16(frame[12:])
		return unix.Sendto(fd, append(header, frame...), 0, &unix.SockaddrLinklayer{Ifindex: d.Index, Protocol: proto})
	})
}
