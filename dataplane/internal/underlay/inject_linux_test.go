//go:build !portable

package underlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane/internal/injector"
	"github.com/weftnet/weft/encap"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// tcpSuper is a TCP super-frame as a TAP gives it, built by gopacket.
type tcpSuper struct {
	encap.Packet
	layout encap.Layout
}

const innerMSS = 1000

func newTCPSuper(t *testing.T, ipv6 bool, payload int) *tcpSuper {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	ip4 := &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
	ip6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::2")}
	ip, network := gopacket.SerializableLayer(ip4), gopacket.NetworkLayer(ip4)
	gso := encap.GSO{Type: encap.GSOTCP4, Size: innerMSS, NeedsCsum: true, CsumStart: 34, CsumOffset: 16}
	if ipv6 {
		eth.EthernetType, ip, network = layers.EthernetTypeIPv6, ip6, ip6
		gso.Type, gso.CsumStart = encap.GSOTCP6, 54
	}
	tcp := &layers.TCP{SrcPort: 40000, DstPort: 443, Seq: 1, Ack: 1, ACK: true, PSH: true, Window: 501}
	check(t, tcp.SetNetworkLayerForChecksum(network))
	b := gopacket.NewSerializeBuffer()
	check(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(numbered(payload, 1))))
	f := &tcpSuper{Packet: encap.Packet{Frame: b.Bytes(), GSO: gso}}
	f.layout = encap.ParseFrame(f.Frame)
	binary.BigEndian.PutUint16(f.Frame[f.layout.L4+16:], pseudoSum(dissectInner(f.Frame), payload+20))
	return f
}

func dissectInner(frame []byte) gopacket.NetworkLayer {
	return gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).NetworkLayer()
}

// pseudoSum is the sum of a pseudo-header, folded and not complemented.
func pseudoSum(ip gopacket.NetworkLayer, length int) uint16 {
	proto := byte(6)
	if ip4, ok := ip.(*layers.IPv4); ok {
		proto = byte(ip4.Protocol)
	} else if ip6, ok := ip.(*layers.IPv6); ok {
		proto = byte(ip6.NextHeader)
	}
	src, dst := ip.NetworkFlow().Endpoints()
	rest := binary.BigEndian.AppendUint32([]byte{0, proto}, uint32(length))
	return lab.OnesSum(src.Raw(), dst.Raw(), rest)
}

// injected is a Sender whose injector is scripted.
type injected struct {
	*Sender
	kernel *kernel
	wrote  [][]byte
	errno  unix.Errno
	events []string // "socket", "injector"
}

func scriptInjector(t *testing.T) *injected {
	s, k := script(t)
	i := &injected{Sender: s, kernel: k}
	s.UseInjector(&injector.Device{MAC: [6]byte{2, 9, 9, 9, 9, 9}})
	s.inject.write = func(headers, rest []byte) unix.Errno {
		i.events = append(i.events, "injector")
		if i.errno == 0 {
			i.wrote = append(i.wrote, slices.Concat(headers, rest))
		}
		return i.errno
	}
	s.sys.sendmmsg = func(fd int, m []mmsghdr) (int, unix.Errno) {
		i.events = append(i.events, "socket")
		return k.sendmmsg(fd, m)
	}
	return i
}

// richFlow has a wish for every outer header field.
func richFlow(ipv6 bool, book Account) (*Flow, *Via) {
	socket := fakeSocket(3)
	socket.ipv6, socket.port = ipv6, 40123
	f := flowTo(socket, book, 4789)
	via := &Via{IfIndex: 0x01020304, Source: netip.MustParseAddr("192.0.2.9"), HopLimit: 61}
	if ipv6 {
		via.Source, f.FlowLabel = netip.MustParseAddr("2001:db8::9"), 0x12345
	}
	f.TOS = 0xb9
	return f, via
}

// TestInjectedFrame has gopacket take apart what is written, for both IP
// versions outside and inside.
func TestInjectedFrame(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		for _, inner6 := range []bool{false, true} {
			for name, edit := range map[string]func(*Flow){
				"route's":     func(*Flow) {},
				"own":         func(f *Flow) { f.TTL, f.DF, f.Local = 9, true, other(ipv6) },
				"no checksum": func(f *Flow) { f.NoCsum = true },
			} {
				t.Run(fmt.Sprintf("inner6=%v/%s", inner6, name), func(t *testing.T) {
					book := &ledger{}
					s, super := scriptInjector(t), newTCPSuper(t, inner6, 50500)
					flow, via := richFlow(ipv6, book)
					edit(flow)
					if !s.Inject(flow, via, 0x00abcd, &super.Packet, &super.layout, 50486) || len(s.wrote) != 1 {
						t.Fatal("nothing was injected")
					}
					wantLedger(t, book, 1, 50486, 0)
					checkInjected(t, s.wrote[0], flow, via, super)
				})
			}
		}
	})
}

func checkInjected(t *testing.T, wrote []byte, flow *Flow, via *Via, super *tcpSuper) {
	t.Helper()
	frame := wrote[injector.HeaderLen:]
	e, ok := dissect.DecodeVXLAN(lab.Frame{Data: frame, Length: len(frame)}, 4789)
	if !ok {
		t.Fatalf("no VXLAN datagram: % x", frame[:80])
	}
	if !bytes.Equal(e.UDP.Payload[encap.HeaderLen:], super.Frame) || !bytes.Equal(e.Header, []byte{8, 0, 0, 0, 0, 0xab, 0xcd, 0}) {
		t.Error("the VXLAN header or the inner frame is wrong")
	}
	source, ttl := via.Source, via.HopLimit
	if flow.Local.IsValid() {
		source, ttl = flow.Local, flow.TTL
	}
	want := fmt.Sprint(source, flow.Remote.Addr(), ttl, flow.TOS, flow.FlowLabel, flow.DF && e.IPv4 != nil, len(frame)-14)
	if got := outerFields(e); got != want {
		t.Errorf("outer header is %s, want %s", got, want)
	}
	sum := uint16(0)
	if !flow.NoCsum {
		sum = pseudoSum(e.Outer.NetworkLayer(), len(e.UDP.Payload)+8)
	}
	if u := e.UDP; u.SrcPort != 40123 || int(u.Length) != 8+len(u.Payload) || u.Checksum != sum {
		t.Errorf("outer UDP is %+v, want checksum %#x", u, sum)
	}
	eth := frame[:14]
	if !bytes.Equal(eth[:6], []byte{2, 9, 9, 9, 9, 9}) || binary.NativeEndian.Uint32(eth[8:]) != uint32(via.IfIndex) || eth[6]&1 != 0 {
		t.Errorf("Ethernet header % x", eth)
	}
	checkTunnelHeader(t, wrote, e, super, flow.NoCsum)
}

func outerFields(e *dissect.Encapsulated) string {
	src, dst := e.Outer.NetworkLayer().NetworkFlow().Endpoints()
	from, _ := netip.AddrFromSlice(src.Raw())
	to, _ := netip.AddrFromSlice(dst.Raw())
	if ip := e.IPv4; ip != nil {
		length := int(ip.Length)
		if lab.OnesSum(ip.Contents) != 0xffff || ip.Id == 0 {
			length = -1
		}
		return fmt.Sprint(from, to, ip.TTL, ip.TOS, 0, ip.Flags == layers.IPv4DontFragment, length)
	}
	ip := e.IPv6
	return fmt.Sprint(from, to, ip.HopLimit, ip.TrafficClass, ip.FlowLabel, false, 40+int(ip.Length))
}

// checkTunnelHeader wants offsets at which the frame has what they stand for.
func checkTunnelHeader(t *testing.T, wrote []byte, e *dissect.Encapsulated, super *tcpSuper, noCsum bool) {
	t.Helper()
	header, frame := wrote[:injector.HeaderLen], wrote[injector.HeaderLen:]
	field := func(at int) int { return int(binary.NativeEndian.Uint16(header[at:])) }
	flags, kind := byte(9), map[encap.GSOType]byte{encap.GSOTCP4: 1, encap.GSOTCP6: 4}[super.GSO.Type]
	if noCsum {
		flags = 1
	}
	kind |= map[bool]byte{true: 0x20, false: 0x40}[e.IPv4 != nil]
	if header[0] != flags || header[1] != kind || field(4) != innerMSS || field(8) != 16 || !bytes.Equal(header[10:20], make([]byte, 10)) {
		t.Errorf("tunnel header % x", header)
	}
	for at, want := range map[int][]byte{
		2:  e.Inner.TransportLayer().LayerPayload(),
		6:  e.Inner.TransportLayer().LayerContents(),
		20: e.UDP.Contents,
		22: e.Inner.NetworkLayer().LayerContents(),
	} {
		if !bytes.HasPrefix(frame[field(at):], want) {
			t.Errorf("the offset %d at %d of the tunnel header is wrong", field(at), at)
		}
	}
}

// TestInjectionKeepsOrder: what the flow's socket has queued leaves first, and
// what other sockets have may wait.
func TestInjectionKeepsOrder(t *testing.T) {
	s, super := scriptInjector(t), newTCPSuper(t, false, 5000)
	flow, via := richFlow(false, &ledger{})
	elsewhere := flowTo(fakeSocket(4), &ledger{}, 4789)
	s.Datagram(elsewhere, filled(100, 1), 100)
	s.Inject(flow, via, 5, &super.Packet, &super.layout, 5000)
	s.Datagram(flow, filled(100, 2), 100)
	s.Inject(flow, via, 5, &super.Packet, &super.layout, 5000)
	s.Datagram(flow, filled(100, 3), 100)
	s.Flush()
	if want := []string{"injector", "socket", "socket", "injector", "socket"}; !slices.Equal(s.events, want) {
		t.Errorf("sent by %v, want %v", s.events, want)
	}
}

// TestInjectionRefused: a frame that the kernel does not take is neither
// accounted for nor lost: the caller sends it by the socket.
func TestInjectionRefused(t *testing.T) {
	for errno, after := range map[unix.Errno]int{unix.EIO: 1, unix.EBADFD: 1, unix.EINVAL: refusedInARow, unix.ENOMEM: refusedInARow} {
		s, super, book := scriptInjector(t), newTCPSuper(t, false, 5000), &ledger{}
		var told []error
		s.OnNoInjector = func(err error) { told = append(told, err) }
		flow, via := richFlow(false, book)
		inject := func() bool { return s.Inject(flow, via, 5, &super.Packet, &super.layout, 5000) }
		s.errno = errno
		for range after - 1 {
			inject()
		}
		s.errno = 0
		if after > 1 && (!inject() || len(told) > 0) {
			t.Errorf("%v: not tried again after %d, %v", errno, after-1, told)
		}
		s.errno = errno
		for n := range after {
			if !s.Injects() || inject() {
				t.Errorf("%v: given up after %d", errno, n)
			}
		}
		var why *InjectError
		if s.Injects() || len(told) != 1 || !errors.As(told[0], &why) || !errors.Is(told[0], errno) {
			t.Errorf("%v: in use %v, told %v", errno, s.Injects(), told)
		}
		wantLedger(t, book, len(s.wrote), 5000*len(s.wrote), 0)
		if int(s.Injected.Load()) != len(s.wrote) {
			t.Errorf("%v: counted %d", errno, s.Injected.Load())
		}
	}
}

// TestInjectionTooLong: no header says more than 65535 bytes.
func TestInjectionTooLong(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		s := scriptInjector(t)
		flow, via := richFlow(ipv6, &ledger{})
		for payload, want := range map[int]bool{60000: true, 65400: true, 65480: false} {
			super := newTCPSuper(t, false, payload)
			if got := s.Inject(flow, via, 5, &super.Packet, &super.layout, payload); got != want {
				t.Errorf("%d bytes of payload: %v, want %v", payload, got, want)
			}
		}
	})
}

// TestIdentifications are never 0, and those of a super-frame's datagrams are
// not given again right away.
func TestIdentifications(t *testing.T) {
	n, last := &injection{id: 0xff00}, uint16(0xff00-1)
	for range 20 {
		id := n.nextID(44)
		if id == 0 || id-last < 1 || id > 0xff00 && id < last {
			t.Errorf("%#x after %#x", id, last)
		}
		last = id + 44
	}
}

func TestInjectionDoesNotAllocate(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		s, super := NewSender(), newTCPSuper(t, ipv6, 50000)
		s.UseInjector(&injector.Device{})
		s.inject.write = func([]byte, []byte) unix.Errno { return 0 }
		flow, via := richFlow(ipv6, &ledger{})
		wantNoAllocs(t, "Inject", func() { s.Inject(flow, via, 5, &super.Packet, &super.layout, 50000) })
	})
}
