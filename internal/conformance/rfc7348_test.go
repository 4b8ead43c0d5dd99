package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// What RFC 7348 wants of a VTEP, with the profile of that name, row by row.

// standard is a link with the profile.
type standard struct {
	*alone
	arrived *tally
	marks   int
}

func newStandard(t *testing.T, v6 bool, adjust func(*spec)) *standard {
	t.Helper()
	lab.NeedTUN(t)
	a := newAlone(t, user, v6, func(s *spec) {
		s.Remote, s.Words = peerAddr(s.Local), []string{"--profile", "rfc7348"}
		if adjust != nil {
			adjust(s)
		}
	})
	socket := listen(t, a.peer, netip.AddrPortFrom(netip.IPv6Unspecified(), alonePort))
	t.Cleanup(func() { _ = socket.Close() })
	return &standard{a, newTally(t, a.Host, a.dev), 0}
}

// frame is one that was not there before.
func (s *standard) frame() []byte {
	s.marks++
	return ether(broadcast, mac("02:00:00:00:0f:01"), typeLocal, append(fmt.Appendf(nil, "frame %4d", s.marks), make([]byte, 40)...))
}

// one sends a frame and returns its datagram.
func (s *standard) one(t *testing.T, frame []byte) *dissect.Encapsulated {
	t.Helper()
	return s.sent(t, 1, frame)[0]
}

// in delivers a datagram from the peer.
func (s *standard) in(t *testing.T, payload []byte, o lab.DatagramOptions) {
	t.Helper()
	src := netip.AddrPortFrom(peerAddr(s.local), 50000)
	check(t, s.peer.SendUDP(src, netip.AddrPortFrom(s.local, alonePort), payload, o))
}

// wantIn wants a datagram to be taken and its frame to come out.
func (s *standard) wantIn(t *testing.T, payload []byte, o lab.DatagramOptions) {
	t.Helper()
	s.in(t, payload, o)
	s.arrived.await(t, 1, func(f lab.Frame) bool { return slices.Equal(f.Data, payload[8:]) })
}

// wantDropped wants what do sends to be dropped, once, for a reason.
func (s *standard) wantDropped(t *testing.T, reason string, do func()) {
	t.Helper()
	before := s.drops(t)
	do()
	before[reason]++
	check(t, lab.Eventually(waitLimit, func() error {
		if now := s.drops(t); !maps.Equal(now, before) {
			return fmt.Errorf("dropped %v, want %v", now, before)
		}
		return nil
	}))
}

// requirement is a row and its test, over one underlay.
type requirement struct {
	name string
	test func(t *testing.T, s *standard)
}

// requirements are those that any link with a remote shows.
var requirements = []requirement{
	{"R1 the I flag marks a valid VNI", func(t *testing.T, s *standard) {
		if e := s.one(t, s.frame()); e.Header[0]&8 == 0 {
			t.Errorf("header % x", e.Header)
		}
		s.wantDropped(t, "no_vni_flag", func() { s.in(t, append(make([]byte, 8), s.frame()...), lab.DatagramOptions{}) })
	}},
	{"R2 R4 reserved bits are sent as zero", func(t *testing.T, s *standard) {
		if e := s.one(t, s.frame()); !slices.Equal(e.Header, []byte{8, 0, 0, 0, 0, 0, aloneVNI, 0}) {
			t.Errorf("header % x", e.Header)
		}
	}},
	{"R3 R5 reserved bits are ignored on receipt", func(t *testing.T, s *standard) {
		for _, header := range [][]byte{{0xff, 0, 0, 0, 0, 0, aloneVNI, 0}, {8, 0xff, 0xff, 0xff, 0, 0, aloneVNI, 0}, {8, 0, 0, 0, 0, 0, aloneVNI, 0xff}} {
			s.wantIn(t, append(header, s.frame()...), lab.DatagramOptions{})
		}
	}},
	{"R6 R17 of another VNI nothing is taken", func(t *testing.T, s *standard) {
		for _, vni := range []uint32{aloneVNI + 1, aloneVNI << 8, aloneVNI << 16} {
			s.wantDropped(t, "unknown_vni", func() { s.in(t, vxlan(vni, s.frame()), lab.DatagramOptions{}) })
		}
	}},
	{"R9 the source port is of the inner flow", checkSourcePorts},
	{"R10 the source port is a dynamic one", func(t *testing.T, s *standard) {
		if e := s.one(t, s.frame()); e.UDP.SrcPort < 49152 {
			t.Errorf("source port %d", e.UDP.SrcPort)
		}
	}},
	{"R11 the UDP checksum is sent as zero", func(t *testing.T, s *standard) {
		if e := s.one(t, s.frame()); e.UDP.Checksum != 0 {
			t.Errorf("checksum %#04x", e.UDP.Checksum)
		}
	}},
	{"R12 a checksum of zero is accepted", func(t *testing.T, s *standard) {
		s.wantIn(t, vxlan(aloneVNI, s.frame()), lab.DatagramOptions{NoChecksum: true})
	}},
	{"R14 a right checksum is accepted, and none that is wrong", func(t *testing.T, s *standard) {
		s.wantIn(t, vxlan(aloneVNI, s.frame()), lab.DatagramOptions{})
		s.wantDropped(t, "checksum", func() { s.in(t, vxlan(aloneVNI, s.frame()), lab.DatagramOptions{BadChecksum: true}) })
	}},
	{"R15 the outer ends are the VTEPs, and no FCS is within", func(t *testing.T, s *standard) {
		frame := s.frame()
		e := s.one(t, frame)
		if sourceOf(e) != s.local || outerDestination(e) != peerAddr(s.local) || int(e.UDP.Length) != 8+8+len(frame) {
			t.Errorf("%v to %v, %d bytes", sourceOf(e), outerDestination(e), e.UDP.Length)
		}
	}},
	{"R16 R19 answers go to the VTEP that was learnt", func(t *testing.T, s *standard) {
		const source = "02:00:00:00:0f:02"
		other := s.other(t, 1)
		s.deliverFrom(t, other, source)
		s.awaitEntry(t, source, source+" dst "+other+" self ")
		frame := s.frame()
		copy(frame, mac(source))
		if e := s.one(t, frame); outerDestination(e).String() != other {
			t.Errorf("sent to %v, want %s", outerDestination(e), other)
		}
	}},
	{"R17 which station is behind is left to the device", func(t *testing.T, s *standard) {
		frame := s.frame()
		copy(frame, mac("02:00:00:00:0f:99"))
		s.wantIn(t, vxlan(aloneVNI, frame), lab.DatagramOptions{})
	}},
	{"R20 nothing is fragmented", func(t *testing.T, s *standard) {
		if e := s.one(t, s.frame()); e.IPv4 != nil && e.IPv4.Flags&layers.IPv4DontFragment == 0 {
			t.Error("DF is clear")
		}
		check(t, s.SetMTU(s.dev, 2000))
		s.wantDropped(t, "too_big", func() { check(t, s.SendFrame(s.dev, append(s.frame(), make([]byte, 1500)...))) })
	}},
	{"R21 fragments are taken", func(t *testing.T, s *standard) {
		check(t, s.SetMTU(s.dev, 2000))
		s.wantIn(t, vxlan(aloneVNI, append(s.frame(), make([]byte, 1500)...)), lab.DatagramOptions{})
	}},
	{"R23 R24 frames with a VLAN tag are not taken", func(t *testing.T, s *standard) {
		s.wantDropped(t, "vlan", func() { s.in(t, vxlan(aloneVNI, tagged(s.frame())), lab.DatagramOptions{}) })
	}},
	{"R25 nor sent", func(t *testing.T, s *standard) {
		s.wantDropped(t, "vlan", func() { check(t, s.SendFrame(s.dev, tagged(s.frame()))) })
	}},
}

// tagged puts a VLAN tag into a frame.
func tagged(frame []byte) []byte { return slices.Insert(frame, 12, 0x81, 0, 0, 42) }

// checkSourcePorts sends a hundred flows, each twice.
func checkSourcePorts(t *testing.T, s *standard) {
	t.Helper()
	ports := map[layers.UDPPort]bool{}
	for i := range 100 {
		e := echo{srcMAC: mac("02:00:00:00:0f:01"), dstMAC: broadcast, src: netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), dst: netip.MustParseAddr("10.1.1.1"), id: 1}
		first := s.one(t, e.frame(t))
		e.id = 2
		if again := s.one(t, e.frame(t)); again.UDP.SrcPort != first.UDP.SrcPort {
			t.Errorf("flow %d had source port %d, then %d", i, first.UDP.SrcPort, again.UDP.SrcPort)
		}
		ports[first.UDP.SrcPort] = true
	}
	if len(ports) < 20 {
		t.Errorf("100 flows had %d source ports", len(ports))
	}
}

// TestProfileRFC7348 has a subtest for each requirement.
func TestProfileRFC7348(t *testing.T) {
	t.Parallel()
	for _, u := range []underlay{underlay4, underlay6} {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			v6 := u.sw.Addr().Is6()
			s := newStandard(t, v6, nil)
			for _, r := range requirements {
				t.Run(r.name, func(t *testing.T) { r.test(t, s) })
			}
			t.Run("R7 R8 the port is 4789 unless another is said", func(t *testing.T) { checkStandardPort(t, v6) })
			t.Run("R13 a checksum that is asked for is right", func(t *testing.T) { checkStandardChecksum(t, v6) })
			t.Run("R18 what is for all goes to the group", func(t *testing.T) { checkStandardGroup(t, v6) })
			t.Run("R22 the MTU leaves room for the headers", func(t *testing.T) { checkStandardMTU(t, v6) })
			t.Run("R26 strangers are not listened to", func(t *testing.T) { checkStandardGuard(t, v6) })
		})
	}
}

func checkStandardPort(t *testing.T, v6 bool) {
	s := newStandard(t, v6, func(s *spec) { s.Port = 1111 })
	must(s.weft.Must(strings.Fields("link add vx1 type vxlan id 6 --profile rfc7348 local " + s.local.String())...))(t)
	for dev, want := range map[string]int{"vx0": 1111, "vx1": 4789} {
		var shown []struct {
			LinkInfo struct {
				Data struct{ Port int } `json:"info_data"`
			}
		}
		check(t, json.Unmarshal([]byte(must(s.weft.Must("-d", "-j", "link", "show", dev))(t)), &shown))
		if len(shown) != 1 || shown[0].LinkInfo.Data.Port != want {
			t.Errorf("%s: %+v, want port %d", dev, shown, want)
		}
	}
}

func checkStandardChecksum(t *testing.T, v6 bool) {
	s := newStandard(t, v6, func(s *spec) { s.Words = append(s.Words, "udpcsum", "noudp6zerocsumtx") })
	e := s.one(t, s.frame())
	if e.UDP.Checksum == 0 {
		t.Error("no checksum")
	}
	check(t, dissect.VerifyChecksums(e.Outer))
}

func checkStandardGroup(t *testing.T, v6 bool) {
	s := newStandard(t, v6, func(s *spec) { s.Remote, s.Dev = vppGroup(v6), "eth0" })
	awaitMembers(t, s.Host, vppGroup(v6), true)
	if e := s.one(t, s.frame()); outerDestination(e) != vppGroup(v6) {
		t.Errorf("sent to %v", outerDestination(e))
	}
	check(t, s.SetDown(s.dev))
	awaitMembers(t, s.Host, vppGroup(v6), false)
}

func checkStandardMTU(t *testing.T, v6 bool) {
	s := newStandard(t, v6, func(s *spec) { s.Dev = "eth0" })
	want := 1450
	if v6 {
		want = 1430
	}
	if mtu := must(s.Device(s.dev))(t).MTU; mtu != want {
		t.Errorf("MTU %d, want %d", mtu, want)
	}
	frame := append(s.frame(), make([]byte, want+14)...)[:want+14]
	if e := s.one(t, frame); len(e.Frame.Data) != 1500+14 {
		t.Errorf("the largest frame takes %d bytes, want 1514", len(e.Frame.Data))
	}
}

func checkStandardGuard(t *testing.T, v6 bool) {
	s := newStandard(t, v6, func(s *spec) { s.Words = append(s.Words, "allow-sources", peerAddr(s.Local).String()) })
	s.wantIn(t, vxlan(aloneVNI, s.frame()), lab.DatagramOptions{})
	s.wantDropped(t, "source_not_allowed", func() { s.deliverFrom(t, s.other(t, 1), "02:00:00:00:0f:03") })
}
