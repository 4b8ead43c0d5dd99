package interop

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// question is an ARP request or a neighbour solicitation.
func question(t *testing.T, from net.HardwareAddr, addr netip.Addr) []byte {
	t.Helper()
	if addr.Is4() {
		return arpRequest(t, from, from, addr)
	}
	return solicit(t, from, addr, nil, sourceOption(from)...)
}

func arpRequest(t *testing.T, from, sender net.HardwareAddr, addr netip.Addr) []byte {
	t.Helper()
	return serialized(t, &layers.Ethernet{SrcMAC: from, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: sender, SourceProtAddress: []byte{10, 20, 7, 200},
		DstHwAddress: make([]byte, 6), DstProtAddress: addr.AsSlice(),
	})[:42]
}

// solicit is a neighbour solicitation with options as they are given.
func solicit(t *testing.T, from net.HardwareAddr, addr netip.Addr, adjust func(*layers.IPv6), options ...byte) []byte {
	t.Helper()
	ip := &layers.IPv6{
		Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6,
		SrcIP: ip6(200).AsSlice(), DstIP: netip.MustParseAddr("ff02::1:ff00:1").AsSlice(),
	}
	if adjust != nil {
		adjust(ip)
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	_ = icmp.SetNetworkLayerForChecksum(ip)
	return serialized(t, &layers.Ethernet{SrcMAC: from, DstMAC: net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6},
		ip, icmp, &layers.ICMPv6NeighborSolicitation{TargetAddress: addr.AsSlice()}, gopacket.Payload(options))
}

func sourceOption(mac net.HardwareAddr) []byte { return append([]byte{1, 1}, mac...) }

func serialized(t *testing.T, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	check(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
	return slices.Clone(buf.Bytes())
}

// proxyCase is a frame and what either kind of link is known to do with it.
type proxyCase struct {
	frame     []byte
	answered  bool
	forwarded bool
	missed    string // that is told of
}

// proxyCases are the questions, asked by from or by sender.
func proxyCases(t *testing.T, from, sender net.HardwareAddr) map[string]proxyCase {
	t.Helper()
	arp := func(host byte) []byte { return arpRequest(t, from, sender, ip4(host)) }
	ns := func(host byte) []byte { return solicit(t, from, ip6(host), nil, sourceOption(sender)...) }
	arpTo := func(addr string) []byte { return arpRequest(t, from, sender, netip.MustParseAddr(addr)) }
	with := func(options ...byte) []byte { return solicit(t, from, ip6(permanent), nil, options...) }
	header := func(adjust func(*layers.IPv6)) []byte { return solicit(t, from, ip6(permanent), adjust) }
	edit := func(frame []byte, at int, b ...byte) []byte { copy(frame[at:], b); return frame }
	nonce := []byte{14, 1, 1, 2, 3, 4, 5, 6}
	cases := map[string]proxyCase{
		"ARP, padded":           {frame: append(arp(permanent), make([]byte, 18)...), answered: true},
		"ARP, IEEE 802":         {frame: edit(arp(permanent), 14, 0, 6), answered: true},
		"ARP, gratuitous":       {frame: edit(arp(permanent), 28, 10, 20, 7, permanent), answered: true},
		"ARP, gratuitous, new":  {frame: edit(arp(absent), 28, 10, 20, 7, absent), missed: ip4(absent).String()},
		"ARP, probe":            {frame: edit(arp(permanent), 28, 0, 0, 0, 0), answered: true},
		"ARP to one station":    {frame: edit(arp(permanent), 0, 2, 0, 0, 7, 0, permanent), answered: true},
		"ARP reply":             {frame: edit(arp(permanent), 21, 2)},
		"ARP, other hardware":   {frame: edit(arp(permanent), 14, 0, 7)},
		"ARP, other protocol":   {frame: edit(arp(permanent), 16, 0x86, 0xdd)},
		"ARP, long MAC":         {frame: edit(arp(permanent), 18, 8)},
		"ARP, long address":     {frame: edit(arp(permanent), 19, 16)},
		"ARP, loopback":         {frame: arpTo("127.0.0.1")},
		"ARP, group":            {frame: arpTo("224.0.0.5")},
		"ARP, broadcast":        {frame: arpTo("255.255.255.255"), missed: "255.255.255.255"},
		"ARP, zero":             {frame: arpTo("0.0.0.0"), missed: "0.0.0.0"},
		"ARP, tagged":           {frame: tagged(arp(permanent), typeVLAN, 7), forwarded: true},
		"ARP, 41 bytes":         {frame: arp(permanent)[:41]},
		"ARP, 28 bytes":         {frame: arp(permanent)[:28]},
		"ARP, 27 bytes":         {frame: arp(permanent)[:27]},
		"ARP, header alone":     {frame: arp(permanent)[:14]},
		"NS, no option":         {frame: with(), answered: true},
		"NS, nonce":             {frame: with(nonce...), answered: true},
		"NS, behind nonce":      {frame: with(slices.Concat(nonce, sourceOption(sender))...), answered: true},
		"NS, two sources":       {frame: with(slices.Concat(sourceOption(sender), sourceOption(from))...), answered: true},
		"NS, long source":       {frame: with(append(append([]byte{1, 2}, sender...), make([]byte, 8)...)...), answered: true},
		"NS, odd byte":          {frame: with(0), answered: true},
		"NS, padding":           {frame: with(0, 0)},
		"NS, option of 0 bytes": {frame: with(14, 0, 0, 0, 0, 0, 0, 0)},
		"NS, source cut off":    {frame: with(sourceOption(sender)[:7]...)},
		"NS, source too long":   {frame: with(append([]byte{1, 2}, sender...)...)},
		"NS, other cut off":     {frame: with(14, 2, 0, 0, 0, 0, 0, 0)},
		"NS, half an option":    {frame: with(14, 1)},
		"NS, class and label":   {frame: header(func(ip *layers.IPv6) { ip.TrafficClass, ip.FlowLabel = 0xbb, 0xabcde }), answered: true},
		"NS, hop limit":         {frame: header(func(ip *layers.IPv6) { ip.HopLimit = 1 }), answered: true},
		"NS, DAD":               {frame: header(func(ip *layers.IPv6) { ip.SrcIP = net.IPv6unspecified }), answered: true},
		"NS, one station":       {frame: header(func(ip *layers.IPv6) { ip.DstIP = ip6(permanent).AsSlice() }), answered: true},
		"NS, to loopback":       {frame: header(func(ip *layers.IPv6) { ip.DstIP = net.IPv6loopback })},
		"NS, no checksum":       {frame: edit(with(), 56, 0, 0), answered: true},
		"NS, odd length":        {frame: edit(with(), 18, 0, 3), answered: true},
		"NS, group":             {frame: solicit(t, from, netip.MustParseAddr("ff02::1"), nil)},
		"NS, loopback":          {frame: solicit(t, from, netip.IPv6Loopback(), nil), missed: "::1"},
		"NS, code 1":            {frame: edit(with(), 55, 1), forwarded: true},
		"NA":                    {frame: edit(with(), 54, 136), forwarded: true},
		"NS, other header":      {frame: edit(with(), 20, 59), forwarded: true},
		"NS, tagged":            {frame: tagged(with(), typeVLAN, 7), forwarded: true},
		"NS, 78 bytes":          {frame: with()[:78], answered: true},
		"NS, 77 bytes":          {frame: with()[:77], forwarded: true},
	}
	for name, host := range map[string]byte{
		"permanent": permanent, "reachable": reachable, "noarp": noARP, "stale": stale, "failed": failed, "unresolved": unresolved, "absent": absent,
	} {
		four, six := proxyCase{frame: arp(host), answered: host < stale}, proxyCase{frame: ns(host), answered: host < stale}
		if host == absent {
			four.missed, six.missed = ip4(host).String(), ip6(host).String()
		}
		cases["ARP, "+name], cases["NS, "+name] = four, six
	}
	return cases
}
