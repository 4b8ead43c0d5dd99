package lantest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/flannel/backend/device"
	"github.com/weftnet/weft/internal/flannel/backend/vxlan"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// config002 is that of seed 002 with more words for the backend.
func config002(words string) string {
	return `{"Network": "172.7.0.0/16", "Backend": {"Type": "vxlan", ` + words + `}}`
}

// wantKind fails the test unless the device is of the datapath.
func (m *machine) wantKind(d vxlan.Datapath) {
	m.t.Helper()
	want := map[vxlan.Datapath]string{vxlan.Kernel: "vxlan", vxlan.User: "tuntap"}[d]
	link, err := m.Netlink().LinkByName("flannel.1")
	check(m.t, err)
	if got := link.Type(); got != want {
		m.t.Errorf("flannel.1 is of type %s, want %s", got, want)
	}
}

// TestAutoNoVXLAN: the kernel's device where it can be made, and userspace where
// it cannot, which is said.
func TestAutoNoVXLAN(t *testing.T) {
	lab.NeedTUN(t)
	want, reasons := vxlan.Kernel, 0
	if lab.LackOfKernelVXLAN() != nil {
		want, reasons = vxlan.User, 1
	}
	for _, d := range []vxlan.Datapath{"", vxlan.Auto} {
		h1, h2 := wire(t)
		a := h1.agent(seed002, d, subnet(seed002, "21"))
		b := h2.agent(seed002, d, subnet(seed002, "22"))
		a.wantKind(want)
		if n := a.reasons(); n != reasons {
			t.Errorf("it is said %d times why the kernel's device was not taken, want %d", n, reasons)
		}
		acquaint(t, a, b)
		a.ping(b.own.IPv4.Addr())
		_, err := lab.Transfer(a.Host, b.Host, netip.AddrPortFrom(b.own.IPv4.Addr(), 0), transferSize(t))
		check(t, err)
	}
}

// reasons counts the lines that say why a datapath was not taken.
func (a *agent) reasons() (n int) {
	for _, e := range a.logs.All() {
		if _, said := e.ContextMap()["because"]; said {
			n++
		}
	}
	return n
}

// TestKept: what is there is kept, whichever it is.
func TestKept(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		h := lan(t, "h1")[0]
		a := h.agent(seed002, d, subnet(seed002, "22"))
		next := h.agent(seed002, vxlan.Auto, subnet(seed002, "22"))
		h.wantKind(d)
		if next.said("taken over") != 1 || !next.own.Equal(a.own.Record) {
			t.Errorf("the device is not kept: lease %s, was %s", encoded(t, next.own.Record), encoded(t, a.own.Record))
		}
	})
}

// TestAutoInUserspace: where the kernel's device cannot have its port, since the
// daemon holds that for another link, the daemon carries this one too.
func TestAutoInUserspace(t *testing.T) {
	lab.NeedTUN(t)
	lab.NeedKernelVXLAN(t)
	hosts := lan(t, "h1", "h2")
	hosts[0].must("link add vx7 type vxlan id 7 remote 10.4.7.22 dev eth0 dstport 8472")
	a := hosts[0].agent(seed002, vxlan.Auto, subnet(seed002, "21"))
	b := hosts[1].agent(seed002, vxlan.User, subnet(seed002, "22"))
	a.wantKind(vxlan.User)
	acquaint(t, a, b)
	a.ping(b.own.IPv4.Addr())
	if n := a.reasons(); n != 1 {
		t.Errorf("it is said %d times why the kernel's device was not taken, want once", n)
	}
}

// TestPortTaken: the message names the port and who could free it.
func TestPortTaken(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		hosts := lan(t, "h1")
		check(t, hosts[0].Do(func() error {
			c, err := net.ListenPacket("udp4", ":8472")
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err
		}))
		err := hosts[0].newAgent(seed002, d).prepare()
		if err == nil || !strings.Contains(err.Error(), "8472") {
			t.Errorf("error %v, want one that names port 8472", err)
		}
		if _, err := hosts[0].Device("flannel.1"); err == nil {
			t.Error("the device is left")
		}
	})
}

// TestReplaced: a device that is not as the config has it gives way to one that
// is, which has its MAC, so that peers need not be told.
func TestReplaced(t *testing.T) {
	lab.NeedTUN(t)
	lab.NeedKernelVXLAN(t)
	for _, c := range []struct {
		name         string
		before, then vxlan.Datapath
		config       string
	}{
		{"user by kernel", vxlan.User, vxlan.Kernel, seed002},
		{"kernel by user", vxlan.Kernel, vxlan.User, seed002},
		{"port, user", vxlan.User, vxlan.User, config002(`"Port": 4789`)},
		{"port, kernel", vxlan.Kernel, vxlan.Kernel, config002(`"Port": 4789`)},
		{"learning, user", vxlan.User, vxlan.User, config002(`"Learning": true`)},
		{"learning, kernel", vxlan.Kernel, vxlan.Kernel, config002(`"Learning": true`)},
		{"GBP, user", vxlan.User, vxlan.User, config002(`"GBP": true`)},
		{"GBP, kernel", vxlan.Kernel, vxlan.Kernel, config002(`"GBP": true`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			hosts := lan(t, "h1", "h2")
			old := hosts[0].agent(seed002, c.before, subnet(seed002, "21"))
			check(t, old.Netlink().LinkSetHardwareAddr(must(old.Netlink().LinkByName("flannel.1")), net.HardwareAddr{2, 7, 7, 7, 7, 7}))
			a := hosts[0].agent(c.config, c.then, subnet(seed002, "21"))
			b := hosts[1].agent(c.config, c.then, subnet(seed002, "22"))
			if a.said("replacing") != 1 {
				t.Error("the device is not replaced")
			}
			a.wantKind(c.then)
			if mac := a.device("flannel.1").MAC.String(); mac != "02:07:07:07:07:07" || macOf(a.own) != [6]byte{2, 7, 7, 7, 7, 7} {
				t.Errorf("MAC %s, in the lease %v", mac, macOf(a.own))
			}
			acquaint(t, a, b)
			a.ping(b.own.IPv4.Addr())
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestMTU: the config's is that of the underlay, and may change while packets
// pass; one that the underlay has not is not taken.
func TestMTU(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		h := lan(t, "h1")[0]
		h.agent(seed002, d, subnet(seed002, "21"))
		index := h.device("flannel.1").Index
		for words, want := range map[string]int{`"MTU": 1400`: 1350, `"MTU": 9000`: 1450} {
			a := h.agent(config002(words), d, subnet(seed002, "21"))
			if dev := h.device("flannel.1"); dev.MTU != want || a.mtu != want || dev.Index != index {
				t.Errorf("%s: device %d has mtu %d, containers %d; want device %d and %d", words, dev.Index, dev.MTU, a.mtu, index, want)
			}
		}
	})
}

// TestOtherSubnet: a node that got another subnet than it had.
func TestOtherSubnet(t *testing.T) {
	forEachWay(t, func(t *testing.T, w way) {
		h := lan(t, "h1")[0]
		h.agent(w.config, w.datapath, subnet(w.config, "21"))
		check(t, h.AddAddr(w.dev, pfx("192.168.77.1/32"))) // a person's
		a := h.agent(w.config, w.datapath, subnet(w.config, "33"))
		want := []string{a.own.IPv4.Addr().String() + "/32", "192.168.77.1/32"}
		got := h.addresses(w.dev, netip.Addr.Is4)
		if fmt.Sprint(got) != fmt.Sprint([]string{want[1], want[0]}) && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("addresses %v, want %v", got, want)
		}
	})
}

// TestBehindNAT: a node whose public address is not its own sends from the
// address of its interface.
func TestBehindNAT(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		h := lan(t, "h1")[0]
		h.node.Public = addr("203.0.113.7")
		a := h.agent(seed002, d, subnet(seed002, "21"))
		if a.own.PublicIP != h.node.Public {
			t.Errorf("the lease says %v", a.own.PublicIP)
		}
		if d == vxlan.Kernel {
			v := must(h.Netlink().LinkByName("flannel.1")).(*netlink.Vxlan)
			if v.SrcAddr.String() != "10.4.7.21" {
				t.Errorf("local %v", v.SrcAddr)
			}
		} else if text := strings.Join(h.must("link show flannel.1"), " "); !strings.Contains(text, "local 10.4.7.21") {
			t.Errorf("link show: %s", text)
		}
	})
}

// TestDerivedMAC: a host that was booted has the MAC that it had before, and
// another one has another.
func TestDerivedMAC(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		hosts := lan(t, "h1", "h2")
		a := hosts[0].agent(dualStack, d, subnet(dualStack, "21"))
		check(t, a.cleanup())
		again := hosts[0].agent(dualStack, d, subnet(dualStack, "21"))
		if !again.own.Equal(a.own.Record) {
			t.Errorf("lease %s, was %s", encoded(t, again.own.Record), encoded(t, a.own.Record))
		}
		b := hosts[1].agent(dualStack, d, subnet(dualStack, "22"))
		seen := map[string]bool{}
		for _, data := range [][]byte{a.own.BackendData, a.own.BackendV6Data, b.own.BackendData, b.own.BackendV6Data} {
			v, err := lease.ParseVXLAN(data)
			check(t, err)
			if seen[v.VtepMAC.String()] || v.VtepMAC[0]&3 != 2 {
				t.Errorf("MAC %v is not one's own, locally administered and unicast", v.VtepMAC)
			}
			seen[v.VtepMAC.String()] = true
		}
	})
}

// TestSecondDeviceGoes: a network that has no IPv6 any more.
func TestSecondDeviceGoes(t *testing.T) {
	forEachDatapath(t, func(t *testing.T, d vxlan.Datapath) {
		h := lan(t, "h1")[0]
		h.agent(dualStack, d, subnet(dualStack, "21"))
		h.agent(seed002, d, subnet(seed002, "21"))
		if _, err := h.Device("flannel-v6.1"); err == nil {
			t.Error("flannel-v6.1 is left")
		}
	})
}

// TestUDPNames: another network's device is left alone, one of this network
// that has another port gives way, and what holds the name already too.
func TestUDPNames(t *testing.T) {
	lab.NeedTUN(t)
	const other = `{"Network": "10.9.0.0/16", "Backend": {"Type": "udp", "Port": 9285}}`
	h := lan(t, "h1")[0]
	h.agent(other, "", lease.Subnet{IPv4: pfx("10.9.1.0/24")})
	h.agent(seed003, "", subnet(seed003, "53"))
	if got := h.device("flannel1").Addresses; !containsPrefix(got, "10.0.53.0/32") {
		t.Errorf("flannel1 has %v", got)
	}
	h.agent(`{"Network": "10.0.0.0/16", "Backend": {"Type": "udp", "Port": 7890}}`, "", subnet(seed003, "53"))
	if text := strings.Join(h.must("link show flannel1"), " "); !strings.Contains(text, "port 7890") {
		t.Errorf("link show: %s", text)
	}
	if got := h.device("flannel0").Addresses; !containsPrefix(got, "10.9.1.0/32") {
		t.Errorf("flannel0 has %v", got)
	}
}

// TestUDPOfOthersWithoutAddress: another network's agent waits for its subnet, and its
// device has no address. It is left alone, by the clean-up too, and by an agent of its
// network taken over.
func TestUDPOfOthersWithoutAddress(t *testing.T) {
	lab.NeedTUN(t)
	const other = `{"Network": "10.9.0.0/16", "Backend": {"Type": "udp", "Port": 9285}}`
	h := lan(t, "h1")[0]
	check(t, h.newAgent(other, "").prepare())
	index := h.device("flannel0").Index
	a := h.agent(seed003, "", subnet(seed003, "53"))
	check(t, a.cleanup())
	if text := strings.Join(h.must("link show flannel0"), " "); !strings.Contains(text, "port 9285") || h.device("flannel0").Index != index {
		t.Errorf("flannel0 is another one: %s", text)
	}
	if b := h.agent(other, "", lease.Subnet{IPv4: pfx("10.9.1.0/24")}); b.said("taken over") != 1 {
		t.Error("the device is not taken over")
	}
	if links := h.links(); len(links) != 1 {
		t.Errorf("links %q", links)
	}
}

func containsPrefix(all []netip.Prefix, want string) bool {
	for _, p := range all {
		if p.String() == want {
			return true
		}
	}
	return false
}

// TestUDPRouteOfOthers: the network's route is there already, on another device,
// which is said once and not changed.
func TestUDPRouteOfOthers(t *testing.T) {
	lab.NeedTUN(t)
	h := lan(t, "h1")[0]
	route := &netlink.Route{Dst: device.IPNet(pfx("10.0.0.0/16")), LinkIndex: h.device("eth0").Index, Gw: net.IPv4(10, 4, 7, 99)}
	check(t, h.Netlink().RouteAdd(route))
	a := h.agent(seed003, "", subnet(seed003, "53"))
	check(t, a.start(subnet(seed003, "53")))
	if n := a.said("another device's"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	check(t, h.Netlink().RouteDel(route))
	check(t, a.start(subnet(seed003, "53")))
	compare(t, "routes", h.routes(2), "10.0.0.0/16 dev flannel0", "10.4.7.0/24 dev eth0 proto kernel scope link src 10.4.7.21")
}

// TestGBP: a peer's group policy comes in bits that are reserved otherwise. A
// node whose config has it takes such packets, others drop them.
func TestGBP(t *testing.T) {
	lab.NeedTUN(t)
	lab.NeedKernelVXLAN(t)
	for words, reserved := range map[string]bool{`"GBP": true`: false, `"GBP": false`: true} {
		h1, h2 := wire(t)
		a := h1.agent(config002(words), vxlan.User, subnet(seed002, "21"))
		b := h2.agent(config002(`"GBP": true`), vxlan.Kernel, subnet(seed002, "22"))
		acquaint(t, a, b)
		seen := lab.TestCapture(t, a.Host, "eth0")
		check(t, b.Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 7); err != nil {
				return err
			}
			return unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: a.own.IPv4.Addr().As4()})
		}))
		_, err := seen.Wait(5*time.Second, func(f lab.Frame) bool {
			sent := dissect.VXLANs([]lab.Frame{f}, 8472)
			return len(sent) == 1 && bytes.Equal(sent[0].Header[:4], []byte{0x88, 0, 0, 7}) // G, and the mark as policy
		})
		check(t, err)
		soon(t, func() error {
			var stats []dataplane.Stats
			out, err := a.weft.Must("stats", "-j")
			if err == nil {
				err = json.Unmarshal([]byte(out), &stats)
			}
			check(t, err)
			if got := stats[0].RxPackets == 1; got == reserved || (stats[0].Drops["reserved_bits"] == 1) != reserved {
				return fmt.Errorf("%s: %d packets, drops %v", words, stats[0].RxPackets, stats[0].Drops)
			}
			return nil
		})
	}
}
