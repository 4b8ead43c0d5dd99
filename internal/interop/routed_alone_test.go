package interop

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
	"github.com/weftnet/weft/internal/lab/proxy"
)

// routedKinds are the links whose devices carry IP packets.
var routedKinds = []string{"l3", "udp"}

// routedFlows are routes to where inner flows go, by whether these are IPv6.
var routedFlows = map[bool]netip.Prefix{
	false: netip.PrefixFrom(flowEnds4[1], 24).Masked(),
	true:  netip.PrefixFrom(flowEnds6[1], 64).Masked(),
}

// newRoutedAlone is newAlone for a link that carries IP packets: all inner flows go
// to the peer. Each packet is seen to come out of it by itself.
func newRoutedAlone(t *testing.T, kind string, u underlay, set func(s *spec)) *alone {
	t.Helper()
	lab.NeedTUN(t)
	h, peer := lab.TestPair(t)
	plainWire(t, h, peer)
	check(t, h.Sysctl("net.ipv6.conf.default.disable_ipv6", "1"))
	v := &vtep{Host: h, kind: user, weft: newWeft(t, h, "WEFT_OFFLOAD_OFF=dev_uso"), link: "flannel0"}
	a := &alone{vtep: v, underlay: u, peer: peer, port: flannelPort, routed: kind}
	if kind == "l3" {
		s := spec{
			VXLAN: lab.VXLAN{Name: v.link, ID: 1, Port: 8472, Address: macOfA, Local: u.a, Dev: "eth0"},
			Words: []string{"nolearning", "l3"},
		}
		if a.port = s.Port; set != nil {
			set(&s)
		}
		v.weft.must(s.command()...)
	} else {
		v.weft.must("link", "add", v.link, "type", "udp", "local", u.a.String(), "dev", "eth0")
	}
	check(t, v.SetUp(v.link))
	for _, v6 := range []bool{false, true} {
		routedDoes("route add PREFIX via PEER dev LINK MAC", v6)(t, a)
	}
	swallow(t, peer, a.port)
	check(t, peer.AddAddr("eth0", u.elsewhere()))
	// The kernel may refuse to send for a moment, while an address is being added.
	reach(t, peer, u.a)
	a.wire, a.inside = lab.TestCapture(t, peer, "eth0"), lab.TestCapture(t, h, v.link)
	return a
}

// linkKinds are all links, by what their devices carry: "" is Ethernet frames.
var linkKinds = append([]string{""}, routedKinds...)

// newAloneOf makes a link of any kind.
func newAloneOf(t *testing.T, kind string, u underlay, set func(s *spec)) *alone {
	t.Helper()
	if kind != "" {
		return newRoutedAlone(t, kind, u, set)
	}
	return newAlone(t, user, u, func(_ *lab.Host, s *spec) {
		if set != nil {
			set(s)
		}
	})
}

// ofFrame is what the link's device has of a frame.
func (a *alone) ofFrame(frame []byte) []byte {
	if a.routed != "" {
		return frame[14:]
	}
	return frame
}

// routedDoes has weft do something about a link that carries IP packets.
func routedDoes(words string, v6 bool) func(*testing.T, *alone) {
	return func(_ *testing.T, a *alone) {
		p, mac := routedFlows[v6], ""
		one, typ := flowEnds4[1], "udp"
		if v6 {
			one = flowEnds6[1]
		}
		if a.routed == "l3" {
			mac, typ = "lladdr "+macOfB.String(), "vxlan"
		}
		with := strings.NewReplacer("PREFIX", p.String(), "LONGER", one.String(), "ELSEWHERE", a.elsewhere().Addr().String(),
			"PEER", a.b.String(), "LINK", a.link, "MAC", mac, "TYPE", typ)
		a.weft.must(strings.Fields(with.Replace(words))...)
	}
}

// datagrams takes the link's own apart.
func (a *alone) datagrams(frames []lab.Frame) []*dissect.Encapsulated {
	if a.routed == "udp" {
		return bares(frames)
	}
	return dissect.VXLANs(frames, a.port)
}

// sentIn is what the link's device had of a datagram.
func (a *alone) sentIn(e *dissect.Encapsulated) []byte {
	switch data := e.Inner.Data(); {
	case a.routed == "l3" && len(data) > 14:
		return data[14:]
	case a.routed == "udp":
		return []byte(strings.TrimSuffix(string(data), greeting))
	default:
		return data
	}
}

// around is the payload of a datagram with what comes out of the link.
func (a *alone) around(packet []byte) []byte {
	switch a.routed {
	case "":
		return vxlan(5, packet)
	case "udp":
		return packet
	}
	frame := ether(0, typeIPv4, packet)
	if packet[0]>>4 == 6 {
		frame = ether(0, typeIPv6, packet)
	}
	return vxlan(1, readdressed(frame, macOfA, macOfB))
}

const greeting = proxy.Greeting

// greet has the peer say at both of its addresses that it is a weft. It has to be
// said again and again.
func (a *alone) greet(t *testing.T) {
	t.Helper()
	if a.routed != "udp" {
		return
	}
	for _, from := range []netip.Addr{a.b, a.elsewhere().Addr()} {
		check(t, a.peer.SendUDP(netip.AddrPortFrom(from, flannelPort), netip.AddrPortFrom(a.a, a.port), []byte(greeting), lab.DatagramOptions{}))
	}
}
