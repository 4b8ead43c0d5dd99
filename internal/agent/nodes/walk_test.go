package nodes

import (
	"fmt"
	"net"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// walkThrough goes with a packet from one container to the other as seed 003 does.
// An echo request is captured at each step, over weft's and the kernel's device
// alike, and has to be there once, with the TTL that two routers leave it: the
// tunnel is none.
func (o *overlay) walkThrough(device string, open func(lab.Frame) gopacket.Packet) {
	o.t.Helper()
	(&walk{overlay: o, device: device, open: open}).check()
}

// walk is the way from the first container to the second one.
type walk struct {
	*overlay
	device string
	open   func(lab.Frame) gopacket.Packet // what is in a datagram of the underlay; nil if it is none
}

// step is a place on the way.
type step struct {
	host     *lab.Host
	dev      string
	outgoing bool
	ttl      uint8
	link     link
}

// link is the two devices whose MAC addresses a frame has: each router writes
// new ones (seed 000's reader), and the tunnel carries those that it is given.
type link struct{ from, to end }

type end struct {
	host *lab.Host
	dev  string
}

func (w *walk) steps() []step {
	a, b, from, to := w.nodes[0].Host, w.nodes[1].Host, w.containers[0], w.containers[1]
	first := link{end{from, "eth0"}, end{a, "docker0"}}
	tunnel := link{end{a, w.device}, end{b, w.device}}
	last := link{end{b, "docker0"}, end{to, "eth0"}}
	return []step{
		{from, "eth0", true, 64, first},
		{a, "veth0", false, 64, first},
		{a, "docker0", false, 64, first},
		{a, w.device, true, 63, tunnel},
		{a, "eth0", true, 63, tunnel},
		{b, "eth0", false, 63, tunnel},
		{b, w.device, false, 63, tunnel},
		{b, "docker0", true, 62, last},
		{b, "veth0", true, 62, last},
		{to, "eth0", false, 62, last},
	}
}

// walkSize is the payload by which the request is known.
const walkSize = 321

func (w *walk) check() {
	w.t.Helper()
	steps := w.steps()
	captures := make([]*lab.Capture, len(steps))
	for i, s := range steps {
		captures[i] = lab.TestCapture(w.t, s.host, s.dev)
	}
	check(w.t, w.containers[0].Ping(w.addrs[1], lab.PingOptions{Size: walkSize, TTL: 64}).Lost())
	for i, s := range steps {
		_, err := captures[i].Wait(soon, func(f lab.Frame) bool { return f.Outgoing == s.outgoing && w.request(s, f) != nil })
		if err != nil {
			w.t.Errorf("step %d, %s of %s: %v", i+1, s.dev, s.host.Name, err)
			continue
		}
		w.checkStep(s, captures[i].Stop())
	}
}

// request is the echo request in a frame, nil if there is none.
func (w *walk) request(s step, f lab.Frame) gopacket.Packet {
	p := dissect.Packet(f)
	if s.dev == "eth0" && s.host != w.containers[0] && s.host != w.containers[1] {
		if p = w.open(f); p == nil {
			return nil
		}
	}
	icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if !ok || icmp.TypeCode.Type() != layers.ICMPv4TypeEchoRequest || len(icmp.Payload) != walkSize {
		return nil
	}
	return p
}

func (w *walk) checkStep(s step, frames []lab.Frame) {
	w.t.Helper()
	count := 0
	for _, f := range frames {
		p := w.request(s, f)
		if p == nil || f.Outgoing != s.outgoing {
			continue
		}
		count++
		ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if ip.TTL != s.ttl || ip.SrcIP.String() != w.addrs[0].String() || ip.DstIP.String() != w.addrs[1].String() {
			w.t.Errorf("%s of %s: %v -> %v with TTL %d, want %v -> %v with %d", s.dev, s.host.Name, ip.SrcIP, ip.DstIP, ip.TTL, w.addrs[0], w.addrs[1], s.ttl)
		}
		w.checkMACs(s, p)
	}
	if count != 1 {
		w.t.Errorf("%s of %s: the request passes %d times", s.dev, s.host.Name, count)
	}
}

// checkMACs wants the MAC addresses of the ends of the step's link, in the datagram
// too; that of the udp backend has none.
func (w *walk) checkMACs(s step, p gopacket.Packet) {
	w.t.Helper()
	eth, ok := p.LinkLayer().(*layers.Ethernet)
	if s.link.from.dev == "flannel0" {
		if ok {
			w.t.Errorf("%s of %s: an Ethernet header", s.dev, s.host.Name)
		}
		return
	}
	if from, to := w.mac(s.link.from), w.mac(s.link.to); eth.SrcMAC.String() != from || eth.DstMAC.String() != to {
		w.t.Errorf("%s of %s: from %v to %v, want %s to %s", s.dev, s.host.Name, eth.SrcMAC, eth.DstMAC, from, to)
	}
}

func (w *walk) mac(e end) string {
	w.t.Helper()
	d, err := e.host.Device(e.dev)
	check(w.t, err)
	return d.MAC.String()
}

// inVXLAN opens what flannel sends with VNI 1 to port 8472.
func (o *overlay) inVXLAN(f lab.Frame) gopacket.Packet {
	e, ok := dissect.DecodeVXLAN(f, 8472)
	if !ok {
		return nil
	}
	if e.VXLAN.VNI != 1 || fmt.Sprintf("%x", e.Header) != "0800000000000100" {
		o.t.Errorf("VXLAN header %x", e.Header)
	}
	o.checkUnderlay(f, e.IPv4)
	o.checkOuter(e)
	return e.Inner
}

// checkOuter wants the headers that the kernel's device writes with flannel's
// settings, whichever device it was: 50 bytes, TTL 64, no DF, no TOS, a checksum,
// and a flow's source port from the range of local ones.
func (o *overlay) checkOuter(e *dissect.Encapsulated) {
	o.t.Helper()
	ip := e.IPv4
	if ip.IHL != 5 || ip.TTL != 64 || ip.TOS != 0 || ip.Flags != 0 || ip.FragOffset != 0 {
		o.t.Errorf("outer header of %d words, TTL %d, TOS %#x, flags %v, offset %d", ip.IHL, ip.TTL, ip.TOS, ip.Flags, ip.FragOffset)
	}
	if inner := len(e.UDP.Payload) - 8; int(ip.Length) != inner+36 || int(e.UDP.Length) != inner+16 {
		o.t.Errorf("a frame of %d bytes in a datagram of %d and UDP of %d", inner, ip.Length, e.UDP.Length)
	}
	if e.UDP.SrcPort < 32768 || e.UDP.SrcPort > 60999 || e.UDP.Checksum == 0 {
		o.t.Errorf("from port %d with checksum %#x", e.UDP.SrcPort, e.UDP.Checksum)
	}
}

// inUDP opens what the udp backend sends: the packet and nothing else, 28 bytes
// more with the outer headers.
func (o *overlay) inUDP(f lab.Frame) gopacket.Packet {
	p := dissect.Packet(f)
	udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp == nil || udp.SrcPort != 8285 || udp.DstPort != 8285 {
		return nil
	}
	outer := p.NetworkLayer().(*layers.IPv4)
	o.checkUnderlay(f, outer)
	inner := gopacket.NewPacket(udp.Payload, layers.LayerTypeIPv4, gopacket.NoCopy)
	ip, ok := inner.NetworkLayer().(*layers.IPv4)
	if request := ok && ip.Length == 28+walkSize; !ok || udp.Payload[0] != 0x45 || request && outer.Length != ip.Length+28 {
		o.t.Errorf("a datagram of %d bytes with %x", outer.Length, udp.Payload[:min(len(udp.Payload), 20)])
	}
	return inner
}

// checkUnderlay wants a datagram to be from one node to the other.
func (o *overlay) checkUnderlay(f lab.Frame, ip *layers.IPv4) {
	o.t.Helper()
	from, to := o.nodes[0], o.nodes[1]
	if ip.SrcIP.String() != from.addr.String() {
		from, to = to, from
	}
	eth := dissect.Packet(f).LinkLayer().(*layers.Ethernet)
	for n, has := range map[*node]struct {
		ip  net.IP
		mac net.HardwareAddr
	}{from: {ip.SrcIP, eth.SrcMAC}, to: {ip.DstIP, eth.DstMAC}} {
		d, err := n.Device("eth0")
		check(o.t, err)
		if has.ip.String() != n.addr.String() || has.mac.String() != d.MAC.String() {
			o.t.Errorf("on the underlay is %v at %v, want %s's %v at %v", has.ip, has.mac, n.Name, n.addr, d.MAC)
		}
	}
}
