package interop

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// TestL3Ping: with a kernel's device as flannel programs it at the other end,
// hosts reach each other both ways, the frames on the wire have the nodes'
// addresses, and no TTL is lost.
func TestL3Ping(t *testing.T) {
	t.Parallel()
	for _, far := range []kind{kernel, user} {
		for _, u := range underlays {
			for _, word := range []string{"on", "off"} {
				t.Run(fmt.Sprintf("%s/%s/offload-%s", far, u.name, word), func(t *testing.T) {
					t.Parallel()
					a, b := connectL3(t, u, far, "offload", word)
					capture := lab.TestCapture(t, b.Host, "eth0")
					for i := range nodesA {
						check(t, a.Ping(nodesB[i].Addr(), lab.PingOptions{Count: 3, Size: 1000, TTL: 33}).Lost())
						check(t, b.Ping(nodesA[i].Addr(), lab.PingOptions{Count: 3, Size: 1000, TTL: 33}).Lost())
					}
					checkL3Wire(t, capture.Stop())
					if drops := a.weft.stats(a.link).Drops; drops["not_ip"]+drops["bad_length"]+drops["own_source"] > 0 {
						t.Errorf("dropped %v", drops)
					}
				})
			}
		}
	}
}

// checkL3Wire wants whole frames between the two nodes' addresses and nothing
// else, twelve requests among them with the TTL that they were sent with.
func checkL3Wire(t *testing.T, frames []lab.Frame) {
	t.Helper()
	requests := 0
	for _, e := range dissect.VXLANs(frames, 8472) {
		eth, _ := e.Inner.LinkLayer().(*layers.Ethernet)
		if eth == nil || e.Inner.ErrorLayer() != nil || e.VXLAN.VNI != 1 {
			t.Fatalf("no frame in %v", e.Outer)
		}
		ours, theirs := bytes.Equal(eth.SrcMAC, macOfA) && bytes.Equal(eth.DstMAC, macOfB), bytes.Equal(eth.SrcMAC, macOfB) && bytes.Equal(eth.DstMAC, macOfA)
		if !ours && !theirs && eth.DstMAC[0]&1 == 0 {
			t.Errorf("from %v to %v", eth.SrcMAC, eth.DstMAC)
		}
		if ours {
			if err := dissect.VerifyChecksums(e.Inner); err != nil {
				t.Errorf("%v: %v", e.Inner, err)
			}
		}
		switch ip := e.Inner.NetworkLayer().(type) {
		case *layers.IPv4:
			if ip.TTL == 33 {
				requests++
			}
		case *layers.IPv6:
			if ip.HopLimit == 33 {
				requests++
			}
		}
	}
	if requests != 12 {
		t.Errorf("%d requests with TTL 33 on the wire, want 12", requests)
	}
}

// TestL3Transfer carries checked streams each way through every kind of wire.
func TestL3Transfer(t *testing.T) {
	t.Parallel()
	for _, far := range []kind{kernel, user} {
		for _, u := range underlays {
			for _, word := range []string{"on", "off"} {
				t.Run(fmt.Sprintf("%s/%s/offload-%s", far, u.name, word), func(t *testing.T) {
					t.Parallel()
					a, b := connectL3(t, u, far, "offload", word)
					check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
					for _, mode := range wireModes {
						t.Run(mode.name, func(t *testing.T) {
							mode.apply(t, a, b)
							m := newMeter(t, a, b)
							for i := range nodesA {
								transfer(t, a, b, nodesB[i], smallTransfer(t))
								transfer(t, b, a, nodesA[i], smallTransfer(t))
							}
							m.checkDrops(t, append(overrun(word), "other_host")...)
							m.checkOffloads(t, tcpOffloads(pairing{user, far}, mode, word))
						})
					}
				})
			}
		}
	}
}

// TestL3TTL: a hop through links costs what a hop through the kernel's tunnel
// costs. A host behind the far end's node is two routers away.
func TestL3TTL(t *testing.T) {
	t.Parallel()
	for name, connectWith := range map[string]func(t *testing.T) (a, b *vtep){
		"l3 to kernel": func(t *testing.T) (a, b *vtep) { return connectL3(t, underlay4, kernel) },
		"l3 to l3":     func(t *testing.T) (a, b *vtep) { return connectL3(t, underlay4, user) },
		"udp":          func(t *testing.T) (a, b *vtep) { return connectUDP(t, underlay4) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := connectWith(t)
			pods := [2]*lab.Host{lab.TestHost(t, "podA"), lab.TestHost(t, "podB")}
			for i, node := range []*vtep{a, b} {
				subnets := [][]prefixPair{podAddrs(nodesA), podAddrs(nodesB)}[i]
				var gateways, addrs []prefix
				for _, p := range subnets {
					gateways, addrs = append(gateways, p.gateway), append(addrs, p.pod)
				}
				check(t, lab.Connect(lab.Port{Host: node.Host, Dev: "pod0", Addrs: gateways}, lab.Port{Host: pods[i], Addrs: addrs}))
				check(t, node.Sysctl("net.ipv4.ip_forward", "1"))
				check(t, node.Sysctl("net.ipv6.conf.all.forwarding", "1"))
				for k, all := range []prefix{overlay4, overlay6} {
					check(t, pods[i].AddRoute(all, "eth0", gateways[k].Addr()))
				}
			}
			capture := lab.TestCapture(t, pods[1], "eth0")
			for _, p := range podAddrs(nodesB) {
				check(t, pods[0].Ping(p.pod.Addr(), lab.PingOptions{TTL: 64}).Lost())
				check(t, pods[0].Ping(p.pod.Addr(), lab.PingOptions{TTL: 3}).Lost())
				if r := pods[0].Ping(p.pod.Addr(), lab.PingOptions{TTL: 2}); r.Received > 0 {
					t.Errorf("%v is reached with a TTL of 2", p.pod)
				}
			}
			var got []string
			for _, f := range capture.Stop() {
				if f.Outgoing {
					continue
				}
				switch ip := dissect.Packet(f).NetworkLayer().(type) {
				case *layers.IPv4:
					got = append(got, fmt.Sprint(ip.TTL))
				case *layers.IPv6:
					if ip.NextHeader == layers.IPProtocolICMPv6 && ip.HopLimit != 255 {
						got = append(got, fmt.Sprint(ip.HopLimit))
					}
				}
			}
			if strings.Join(got, " ") != "62 1 62 1" {
				t.Errorf("requests arrive with TTLs %v, want 62 1 62 1", got)
			}
		})
	}
}

// TestL3Shown reads what is told of a link with l3, and what it refuses.
func TestL3Shown(t *testing.T) {
	t.Parallel()
	h, _ := lab.TestPair(t)
	a := addL3Link(t, h, macOfA, underlay4.a, nodesA)
	text := a.weft.must("link", "show", a.link)
	for _, want := range []string{": flannel.1: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1450 ", "    link/none \n", "vxlan id 1 local 10.211.55.11 dev eth0 srcport 0 0 dstport 8472 l3 address 02:09:00:00:00:01 ttl auto "} {
		if !strings.Contains(text, want) {
			t.Errorf("link show: %q is not in %q", want, text)
		}
	}
	shown := a.weft.must("-j", "link", "show", a.link)
	if want := `"info_data":{"id":1,"l3":true,"l3_address":"02:09:00:00:00:01"`; !strings.Contains(shown, want) {
		t.Errorf("link show -j: %s is not in %s", want, shown)
	}
	if out := a.weft.run("fdb", "add", "02:00:00:00:00:01", "dev", a.link, "dst", "192.0.2.1"); out.Status != 1 || !strings.Contains(out.Stderr, "flannel.1 has no FDB: it is a link of type vxlan with l3") {
		t.Errorf("fdb add: status %d, %q", out.Status, out.Stderr)
	}
	a.weft.must("link", "set", a.link, "ttl", "9")
	for _, words := range []string{"remote 192.0.2.1", "ageing 5", "learning"} {
		if out := a.weft.run(append([]string{"link", "set", a.link}, strings.Fields(words)...)...); out.Status != 1 {
			t.Errorf("link set %s: status %d, %q", words, out.Status, out.Stderr)
		}
	}
	// Without an address there is a random one, which stays.
	a.weft.must("link", "add", "x1", "type", "vxlan", "id", "2", "dstport", "8472", "l3")
	random := a.weft.must("-j", "link", "show", "x1")
	_, mac, _ := strings.Cut(random, `"l3_address":"`)
	if parsed, err := net.ParseMAC(mac[:min(len(mac), 17)]); err != nil || parsed[0]&3 != 2 || random != a.weft.must("-j", "link", "show", "x1") {
		t.Errorf("random address in %s: %v", random, err)
	}
}

// TestL3OtherHosts: frames that are not for the link's address are dropped and
// counted.
func TestL3OtherHosts(t *testing.T) {
	t.Parallel()
	a, b := connectL3(t, underlay4, kernel)
	check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
	before, p := a.weft.stats(a.link), inner{size: 10}
	for i, dst := range []net.HardwareAddr{{255, 255, 255, 255, 255, 255}, {2, 9, 0, 0, 0, 7}, {0x33, 0x33, 0, 0, 0, 1}} {
		frame := readdressed(p.frame(t, 0), dst, macOfB)
		check(t, b.SendUDP(netip.AddrPortFrom(underlay4.b, 40000), netip.AddrPortFrom(underlay4.a, 8472), vxlan(1, frame), lab.DatagramOptions{}))
		a.weft.drops(before, "other_host", uint64(i+1))
	}
}
