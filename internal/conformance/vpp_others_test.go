package conformance

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestVXLAN2.test_xconnect: a tunnel whose source is not an address of the host
// sends nothing, and once it is one it does. Over IPv6 the kernel's device does
// not mind whose the address is.
func TestVPPForeignSource(t *testing.T) {
	eachVariant(t, vppVariants[:2], func(t *testing.T, k kind, vt variant) {
		v := newVPP(t, k, vt, func(s *spec) { s.Local = vppSource(s.Local.Is6(), 50) })
		lost, frame := v.frame(t, 100), v.frame(t, 101)
		foreign := vppSource(v.v6, 50)
		if v.v6 {
			if e := v.encapsulated(t, lost); sourceOf(e) != foreign {
				t.Errorf("sent from %v, want %v", sourceOf(e), foreign)
			}
			return
		}
		check(t, v.SendFrame(v.dev, lost))
		v.awaitFigure(t, "tx_errors", func(f figures) uint64 { return f.txErrors }, 1)
		check(t, v.AddAddr("eth0", netip.PrefixFrom(foreign, foreign.BitLen())))
		if e := v.encapsulated(t, frame); sourceOf(e) != foreign {
			t.Errorf("sent from %v, want %v", sourceOf(e), foreign)
		}
		if slices.ContainsFunc(v.wire.Frames(), carries(lost)) {
			t.Error("a frame was sent while the source was nobody's")
		}
	})
}

// TestVXLANL2Mode.test_l2_mode: ARP goes through, both ways.
func TestVPPLayer2(t *testing.T) {
	onVPP(t, func(t *testing.T, v *vpp) {
		request := ether(broadcast, mac("00:00:00:00:00:01"), 0x0806, append([]byte{
			0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 1, 192, 168, 1, 1, 0, 0, 0, 0, 0, 0, 192, 168, 1, 2,
		}, make([]byte, 18)...))
		if e := v.encapsulated(t, request); !slices.Equal(e.Inner.Data(), request) {
			t.Errorf("the request became % x", e.Inner.Data())
		}
		reply := slices.Clone(request)
		copy(reply, []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2})
		binary.BigEndian.PutUint16(reply[20:], 2)
		v.receive(t, peerAddr(v.local), vppVNI, reply)
		v.arrived.await(t, 1, func(f lab.Frame) bool { return slices.Equal(f.Data, reply) })
	})
}

// TestVXLANRouting.test_dst_tracking: when the route to a remote changes, the
// tunnel follows.
func TestVPPRouteChange(t *testing.T) {
	eachVariant(t, vppVariants[:2], func(t *testing.T, k kind, vt variant) {
		far := netip.MustParsePrefix("10.99.0.1/32")
		if vt.sw.Addr().Is6() {
			far = netip.MustParsePrefix("fd99::1/128")
		}
		v := newVPP(t, k, vt, func(s *spec) { s.Remote = far.Addr() })
		one, other := secondWire(t, v), peerAddr(v.local)
		check(t, v.AddRoute(far, "eth0", other))
		if e := v.encapsulated(t, v.frame(t, 100)); outerDestination(e) != far.Addr() {
			t.Errorf("sent to %v, want %v", outerDestination(e), far.Addr())
		}
		check(t, v.DelRoute(far, "eth0", other))
		check(t, v.AddRoute(far, "eth1", one.gateway))
		frame := v.frame(t, 101)
		check(t, v.SendFrame(v.dev, frame))
		one.arrived.await(t, 1, carries(frame))
		if slices.ContainsFunc(v.wire.Frames(), carries(frame)) {
			t.Error("the frame went by the old route too")
		}
	})
}

// secondNeighbour is at the other end of a second wire of the host.
type secondNeighbour struct {
	gateway netip.Addr
	arrived *tally
}

func secondWire(t *testing.T, v *vpp) secondNeighbour {
	t.Helper()
	near, far := netip.MustParsePrefix("10.98.0.1/24"), netip.MustParsePrefix("10.98.0.2/24")
	if v.v6 {
		near, far = netip.MustParsePrefix("fd98::1/64"), netip.MustParsePrefix("fd98::2/64")
	}
	check(t, v.Sysctl("net.ipv6.conf.default.disable_ipv6", "0"))
	h := lab.TestHost(t, "second neighbour")
	check(t, lab.Connect(lab.Port{Host: v.Host, Dev: "eth1", Addrs: []netip.Prefix{near}}, lab.Port{Host: h, Addrs: []netip.Prefix{far}}))
	return secondNeighbour{far.Addr(), newTally(t, h, "eth0")}
}

// The scripts' set-up makes and deletes 200 tunnels of a group each, and twenty
// that share one: memberships come and go with them, the shared one with its
// last.
func TestVPPManyGroups(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		const own, shared = 200, 20
		l := newLAN(t, lanUnderlays[0], 1)
		h := l.hosts[0]
		// All links of a port share the kernel's socket, which may be in no
		// more groups than this; weft has a socket for each.
		check(t, h.Sysctl("net.ipv4.igmp_max_memberships", "300"))
		var links []lab.VXLAN
		for i := range own + shared {
			group := netip.AddrFrom4([4]byte{239, 1, 2, byte(i)})
			if i >= own {
				group = netip.MustParseAddr("239.1.1.1")
			}
			links = append(links, lab.VXLAN{Name: fmt.Sprintf("vx%d", i), ID: uint32(1 + i), Port: 4789, Remote: group, Dev: "eth0"})
		}
		first := newLink(t, h, k, spec{VXLAN: links[0]})
		first.addMany(t, links[1:])
		for i := range links {
			awaitMembers(t, h, links[i].Remote, true)
		}
		last := links[len(links)-1]
		first.deleteMany(t, links[1:len(links)-1])
		awaitMembers(t, h, links[own-1].Remote, false)
		awaitMembers(t, h, last.Remote, true)
		first.deleteMany(t, []lab.VXLAN{last})
		awaitMembers(t, h, last.Remote, false)
		awaitMembers(t, h, links[0].Remote, true)
	})
}

// addMany makes links beside one, and brings them up.
func (l *link) addMany(t *testing.T, links []lab.VXLAN) {
	t.Helper()
	var lines []string
	for i := range links {
		if l.kind == kernel {
			check(t, l.AddKernelVXLAN(links[i]))
		}
		lines = append(lines, fmt.Sprintf("link add %s type vxlan id %d dstport %d group %v dev %s",
			links[i].Name, links[i].ID, links[i].Port, links[i].Remote, links[i].Dev))
	}
	l.batch(t, lines)
	for i := range links {
		check(t, l.SetUp(links[i].Name))
	}
}

// deleteMany deletes links.
func (l *link) deleteMany(t *testing.T, links []lab.VXLAN) {
	t.Helper()
	var lines []string
	for i := range links {
		if l.kind == kernel {
			check(t, l.Delete(links[i].Name))
		}
		lines = append(lines, "link del "+links[i].Name)
	}
	l.batch(t, lines)
}

// batch runs commands of weft's, if the link is weft's.
func (l *link) batch(t *testing.T, lines []string) {
	t.Helper()
	if l.kind == user {
		must(l.weft.Must("-batch", writeLines(t, lines)))(t)
	}
}

// writeLines puts lines into a file.
func writeLines(t *testing.T, lines []string) (path string) {
	t.Helper()
	return writeFile(t, strings.Join(lines, "\n")+"\n")
}
