package interop

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
)

// bridged is the kernel's device as a port of a bridge, and a host on the
// bridge that sends through it.
type bridged struct {
	*alone
	pod     *lab.Host
	replies *lab.Capture // of the pod's eth0
	mtu     int          // of the path, in bytes of inner IP packet
}

func newBridged(t *testing.T, u underlay, mtu int) *bridged {
	t.Helper()
	lab.NeedBridge(t)
	// Without a device below, its MTU is 1500: more than the path carries.
	b := &bridged{alone: newAlone(t, kernel, u, func(_ *lab.Host, s *spec) { s.Dev = "" }), pod: lab.TestHost(t, "pod"), mtu: mtu}
	check(t, b.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0", TxQLen: -1}}))
	check(t, b.SetUp("br0"))
	check(t, b.pod.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
	check(t, lab.Connect(lab.Port{Host: b.Host, Dev: "pod0"}, lab.Port{Host: b.pod}))
	join(t, b.vtep, "pod0")
	join(t, b.vtep, b.link)
	b.replies = lab.TestCapture(t, b.pod, "eth0")
	return b
}

// tooBig is what encap makes of a frame on this path.
func (b *bridged) tooBig(frame []byte) []byte {
	l := encap.ParseFrame(frame)
	if encap.PacketLen(&encap.Packet{Frame: frame}, &l) <= b.mtu {
		return nil
	}
	return encap.TooBig(make([]byte, encap.TooBigLen), frame, &l, b.mtu)
}

// isReplyTo matches any frame that comes back to the sender of frame.
func isReplyTo(frame []byte) func(lab.Frame) bool {
	return func(f lab.Frame) bool { return !f.Outgoing && bytes.Equal(f.Data[:6], frame[6:12]) }
}

// TestTooBigIsTheKernels sends frames that do not fit, and some that just do,
// through the kernel's device: what it answers, and to which of them, is what
// encap.TooBig makes of them, byte for byte.
func TestTooBigIsTheKernels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		underlay
		mtu int
	}{{underlay4, 1450}, {underlay6, 1430}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBridged(t, c.underlay, c.mtu)
			mark := 0
			for name, frame := range offenders(t, c.mtu) {
				mark++
				frame = readdressed(frame, nil, markMAC(mark))
				want := b.tooBig(frame)
				check(t, b.pod.SendFrame("eth0", frame))
				if want == nil {
					b.checkNone(t, name, frame, mark+1000)
					continue
				}
				got, err := b.replies.Wait(waitLimit, isReplyTo(frame))
				if err != nil {
					t.Errorf("%s: no answer: %v", name, err)
				} else if !bytes.Equal(got.Data, want) {
					t.Errorf("%s: the kernel answers\n%s\nencap\n%s", name, head(got.Data), head(want))
				}
			}
		})
	}
}

// checkNone wants no answer to a frame: none has come when one to a later
// frame has.
func (b *bridged) checkNone(t *testing.T, name string, frame []byte, mark int) {
	t.Helper()
	fence := inner{size: 1472, df: true}.frame(t, mark)
	check(t, b.pod.SendFrame("eth0", fence))
	if _, err := b.replies.Wait(waitLimit, isReplyTo(fence)); err != nil {
		t.Fatalf("the frame behind %s: %v", name, err)
	}
	for _, f := range b.replies.Frames() {
		if isReplyTo(frame)(f) {
			t.Errorf("%s: the kernel answers, encap does not\n%s", name, head(f.Data))
		}
	}
}

// offenders are frames of all sorts, most of which do not fit. Those are left
// out about which encap.TooBig says that it differs.
func offenders(t *testing.T, mtu int) map[string][]byte {
	t.Helper()
	four := func(p inner) []byte { p.df, p.size = true, 1472; return p.frame(t, 0) }
	six := func(p inner) []byte { p.v6, p.size = true, 1452; return p.frame(t, 0) }
	tcp4, tcp6 := inner{df: true, tcp: true}, inner{v6: true, tcp: true}
	sized := func(p inner, size int) []byte { p.size = size; return p.frame(t, 0) }
	all := map[string][]byte{
		"UDP4":              four(inner{}),
		"TTL and TOS":       four(inner{ttl: 3, tos: 0xb9}),
		"UDP6":              six(inner{}),
		"hop limit, TOS":    six(inner{ttl: 3, tos: 0xb9}),
		"TCP4 that fits":    sized(tcp4, mtu-40),
		"TCP4, one more":    sized(tcp4, mtu-39),
		"TCP6 that fits":    sized(tcp6, mtu-60),
		"TCP6, one more":    sized(tcp6, mtu-59),
		"no DF":             sized(inner{}, 1472),
		"more fragments":    sized(inner{df: true, more: true}, 1472),
		"later fragment":    sized(inner{df: true, fragment: 1480}, 1480),
		"tagged":            tagged(sized(tcp4, 1452), typeVLAN, 7),
		"no IP":             ether(0, typeLocal, make([]byte, 1500)),
		"IPv4 multicast":    withAddr4(four(inner{}), 16, "239.1.2.3"),
		"IPv4 broadcast":    withAddr4(four(inner{}), 16, "255.255.255.255"),
		"directed":          withAddr4(four(inner{}), 16, "10.20.7.255"),
		"loopback dst":      withAddr4(four(inner{}), 16, "127.0.0.1"),
		"zero dst":          withAddr4(four(inner{}), 16, "0.0.0.0"),
		"from 0.1.2.3":      withAddr4(four(inner{}), 12, "0.1.2.3"),
		"from 127.1.2.3":    withAddr4(four(inner{}), 12, "127.1.2.3"),
		"from a group":      withAddr4(four(inner{}), 12, "224.0.0.1"),
		"from broadcast":    withAddr4(four(inner{}), 12, "255.255.255.255"),
		"from class E":      withAddr4(four(inner{}), 12, "240.0.0.1"),
		"from IPv6 ::":      withAddr6(six(inner{}), 8, "::"),
		"from global group": withAddr6(six(inner{}), 8, "ff0e::1"),
		"to IPv6 loopback":  withAddr6(six(inner{}), 24, "::1"),
	}
	for _, kind := range []byte{0, 3, 4, 5, 8, 11, 12, 13} {
		all["ICMP "+string('a'+rune(kind))] = withUpper(four(inner{}), 23, 1, kind)
	}
	for _, kind := range []byte{1, 2, 3, 4, 5, 127, 128, 133, 137} {
		all["ICMPv6 "+hex.EncodeToString([]byte{kind})] = withUpper(six(inner{}), 20, 58, kind)
	}
	for name, next := range map[string]byte{"nothing behind": 59, "ESP": 50, "mobility": 135} {
		all[name] = withUpper(six(inner{}), 20, next, 59)
	}
	return all
}

// withAddr4 puts an address into an IPv4 packet, at an offset in its header.
func withAddr4(frame []byte, at int, addr string) []byte {
	copy(frame[14+at:], netip.MustParseAddr(addr).AsSlice())
	copy(frame[24:26], []byte{0, 0})
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(frame[i:]))
	}
	binary.BigEndian.PutUint16(frame[24:], ^uint16(sum+sum>>16))
	return frame
}

func withAddr6(frame []byte, at int, addr string) []byte {
	copy(frame[14+at:], net.ParseIP(addr).To16())
	return frame
}

// withUpper makes the frame's packet one of another protocol, whose field is
// at an offset in the frame, with its first byte.
func withUpper(frame []byte, at int, proto, first byte) []byte {
	frame[at] = proto
	if frame[14]>>4 == 4 {
		frame[34] = first
		return withAddr4(frame, 16, "10.20.7.2")
	}
	frame[54] = first
	return frame
}

// head is a dump of a frame's headers.
func head(frame []byte) string { return hex.Dump(frame[:min(len(frame), 80)]) }
