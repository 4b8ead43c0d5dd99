package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// The second half of the tutorial of which interop.TestSeed follows the first:
// a link to a multicast group, and bridges with containers around such links.
// The lines are the tutorial's, letter by letter.
const (
	multicastFirst = `
# 第一台
# 添加一个vxlan类型的link名为vxlan1,并设置VNI为6,需要连接的目标组为239.1.1.1从eth0口出去
ip link add vxlan1 type vxlan id 6 dstport 4789 group 239.1.1.1 dev eth0
# 设置vxlan1的ip:192.168.1.1
ip addr add 192.168.1.1/24 dev vxlan1
# 启动vxlan1
ip link set vxlan1 up
`
	multicastSecond = `
# 第二台
# 添加一个vxlan类型的link名为vxlan1,并设置VNI为6,需要连接的目标组为239.1.1.1从eth0口出去
ip link add vxlan1 type vxlan id 6 dstport 4789 group 239.1.1.1 dev eth0
# 设置vxlan1的ip:192.168.1.2
ip addr add 192.168.1.2/24 dev vxlan1
# 启动vxlan1
ip link set vxlan1 up
# 测试
ping 192.168.1.1
`
	bridgedFirst = `
# 创建 namespace
ip netns add ns0
ip netns add ns1
# 创建 bridge
ip link add br0 type bridge
ip link set br0 up
# 创建两对 veth-pair (相当于网线)
ip link add veth0 type veth peer name br0-veth0
ip link add veth1 type veth peer name br0-veth1
# 先插入一头到网络名称空间里面去
ip link set veth0 netns ns0
ip link set veth1 netns ns1
# 再插入一头到网桥里面去
ip link set br0-veth0 master br0
ip link set br0-veth1 master br0
# 都要激活
ip link set br0-veth0 up
ip link set br0-veth1 up
# 配置ip并启用
ip netns exec ns0 ip add a 192.168.1.10/24 dev veth0
ip netns exec ns0 ip link set veth0 up
ip netns exec ns0 ip link set lo up
ip netns exec ns1 ip add a 192.168.1.11/24 dev veth1
ip netns exec ns1 ip link set veth1 up
ip netns exec ns1 ip link set lo up
# 把vxlan1加入到网桥网络
ip link set vxlan1 master br0
# 测试ns1 ping ns0
ip netns exec ns1 ping 192.168.1.10
`
	bridgedSecond = `
# 创建 namespace
ip netns add ns2
ip netns add ns3
# 创建 bridge
ip link add br0 type bridge
ip link set br0 up
# 创建两对 veth-pair (相当于网线)
ip link add veth2 type veth peer name br0-veth2
ip link add veth3 type veth peer name br0-veth3
# 先插入一头到网络名称空间里面去
ip link set veth2 netns ns2
ip link set veth3 netns ns3
# 再插入一头到网桥里面去
ip link set br0-veth2 master br0
ip link set br0-veth3 master br0
# 都要激活
ip link set br0-veth2 up
ip link set br0-veth3 up
# 配置ip并启用
ip netns exec ns2 ip add a 192.168.1.12/24 dev veth2
ip netns exec ns2 ip link set veth2 up
ip netns exec ns2 ip link set lo up
ip netns exec ns3 ip add a 192.168.1.13/24 dev veth3
ip netns exec ns3 ip link set veth3 up
ip netns exec ns3 ip link set lo up
# 把vxlan1加入到网桥网络
ip link set vxlan1 master br0
# 测试ns3 ping ns2
ip netns exec ns3 ping 192.168.1.12
`
)

// pairing is who the links of both machines are of.
type pairing struct{ a, b kind }

func (p pairing) String() string { return string(p.a) + "-" + string(p.b) }

// pairings are the four; the last is the control.
var pairings = []pairing{{user, kernel}, {kernel, user}, {user, user}, {kernel, kernel}}

// TestTutorialMulticastAndBridges follows the lines and does what they are for.
func TestTutorialMulticastAndBridges(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String()+"/netlink", func(t *testing.T) {
			t.Parallel()
			first, second := followTutorial(t, p, 1500, false)
			checkContainers(t, first, second)
			checkContainerTransfers(t, first, second)
		})
	}
	// Names of namespaces are the world's, so these go one after another.
	t.Run("ip", func(t *testing.T) {
		t.Parallel()
		for _, p := range pairings {
			if haveIP() {
				t.Run(p.String(), func(t *testing.T) {
					first, second := followTutorial(t, p, 1500, true)
					checkContainers(t, first, second)
				})
			}
		}
	})
}

// followTutorial enters the lines on two machines, and looks after each part
// at what the tutorial says of it.
func followTutorial(t *testing.T, p pairing, mtu int, literal bool) (first, second *machine) {
	t.Helper()
	sw := newSwitch(t)
	first, second = newMachine(t, sw, p.a, 11, mtu, literal), newMachine(t, sw, p.b, 12, mtu, literal)
	wire := lab.TestCapture(t, first.Host, "eth0")
	first.follow(t, multicastFirst)
	second.follow(t, multicastSecond)
	for _, m := range []*machine{first, second} {
		checkGroupEntry(t, m)
	}
	checkFloodToGroup(t, wire, "10.211.55.12")
	first.follow(t, bridgedFirst)
	checkStaysLocal(t, wire)
	second.follow(t, bridgedSecond)
	return first, second
}

// newSwitch makes one that goes with the test.
func newSwitch(t *testing.T) *lab.Switch {
	t.Helper()
	lab.NeedBridge(t)
	sw := must(lab.NewSwitch())(t)
	t.Cleanup(func() { check(t, sw.Close()) })
	return sw
}

// checkGroupEntry looks for what `bridge fdb | grep vxlan` shows of vxlan1: its
// default entry has the group where vxlan0's has the other VTEP.
func checkGroupEntry(t *testing.T, m *machine) {
	t.Helper()
	want := "00:00:00:00:00:00 dev vxlan1 dst 239.1.1.1 via eth0 self permanent"
	if lines := m.link.wholeTable(t); !slices.Contains(lines, want) {
		t.Errorf("%s: fdb | grep vxlan: %q, want the line %q", m.Name, lines, want)
	}
}

// wholeTable is `bridge fdb | grep vxlan`, without what the bridge itself or
// the device's own filter have.
func (l *link) wholeTable(t *testing.T) (lines []string) {
	t.Helper()
	if l.kind == kernel {
		for _, e := range must(l.FDB(l.dev))(t) {
			lines = append(lines, strings.TrimPrefix(e.MonitorLine(), "Deleted "))
		}
	} else {
		lines = printed(must(l.weft.Must("fdb"))(t))
	}
	return slices.DeleteFunc(lines, func(line string) bool {
		return !strings.Contains(line, "vxlan") || !strings.Contains(line, " self")
	})
}

// checkFloodToGroup wants what a machine sent to all to have gone to the group,
// no further than the next router, and what it sent to one machine to that.
func checkFloodToGroup(t *testing.T, wire *lab.Capture, from string) {
	t.Helper()
	toAll, toOne := 0, 0
	_, err := wire.Wait(waitLimit, isPingOf(from, 2))
	check(t, err)
	for _, e := range dissect.VXLANs(wire.Frames(), 4789) {
		if e.IPv4 == nil || e.IPv4.SrcIP.String() != from {
			continue
		}
		outer := fmt.Sprintf("%v at %v, TTL %d", e.IPv4.DstIP, e.Outer.LinkLayer().LinkFlow().Dst(), e.IPv4.TTL)
		if inner := e.Inner.LinkLayer().(*layers.Ethernet); inner.DstMAC[0]&1 != 0 {
			toAll++
			if want := "239.1.1.1 at 01:00:5e:01:01:01, TTL 1"; outer != want {
				t.Errorf("a frame for %v went to %s, want %s", inner.DstMAC, outer, want)
			}
		} else {
			toOne++
			if !strings.HasPrefix(outer, "10.211.55.11 at ") || !strings.HasSuffix(outer, ", TTL 64") {
				t.Errorf("a frame for %v went to %s, want 10.211.55.11, TTL 64", inner.DstMAC, outer)
			}
		}
	}
	if toAll == 0 || toOne < 3 {
		t.Errorf("%d frames of %s to the group and %d to the other machine, want some and three pings", toAll, from, toOne)
	}
}

// isPingOf finds a VTEP's echo request with a sequence number.
func isPingOf(vtep string, seq uint16) func(lab.Frame) bool {
	return func(f lab.Frame) bool {
		e, ok := dissect.DecodeVXLAN(f, 4789)
		if !ok || e.IPv4 == nil || e.IPv4.SrcIP.String() != vtep {
			return false
		}
		icmp, ok := e.Inner.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		return ok && icmp.TypeCode.Type() == layers.ICMPv4TypeEchoRequest && icmp.Seq == seq
	}
}

// checkStaysLocal wants the ping between two containers of one machine not to
// have left it.
func checkStaysLocal(t *testing.T, wire *lab.Capture) {
	t.Helper()
	for _, e := range dissect.VXLANs(wire.Frames(), 4789) {
		if ip, ok := e.Inner.Layer(layers.LayerTypeIPv4).(*layers.IPv4); ok && ip.SrcIP.String() == "192.168.1.11" {
			t.Errorf("a packet from ns1 to ns0 went out: %v", e.Inner)
		}
	}
}

// tutorialHosts are all four by their addresses.
func tutorialHosts(first, second *machine) (hosts []*lab.Host, addrs []netip.Addr) {
	hosts = []*lab.Host{first.pods["ns0"], first.pods["ns1"], second.pods["ns2"], second.pods["ns3"]}
	for i := range hosts {
		addrs = append(addrs, netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + i)}))
	}
	return hosts, addrs
}

// checkContainers pings from each container every other: 12 pairs.
func checkContainers(t *testing.T, first, second *machine) {
	t.Helper()
	hosts, addrs := tutorialHosts(first, second)
	for i, from := range hosts {
		for j, to := range addrs {
			if i == j {
				continue
			}
			if err := from.Ping(to, lab.PingOptions{Count: 2}).Lost(); err != nil {
				t.Errorf("ns%d to ns%d: %v", i, j, err)
			}
		}
	}
}

// transferred is how much a transfer has that shows that a path lasts.
func transferred() int64 {
	if testing.Short() {
		return 4 << 20
	}
	return 64 << 20
}

// checkContainerTransfers moves data between containers of both machines. Their
// MTU is left at 1500 and the link's is 1450: what keeps that going is what the
// device says by ICMP.
func checkContainerTransfers(t *testing.T, first, second *machine) {
	t.Helper()
	hosts, addrs := tutorialHosts(first, second)
	for i, want := range map[int]int{0: 1500, 2: 1500} {
		if mtu := must(hosts[i].Device(fmt.Sprintf("veth%d", i)))(t).MTU; mtu != want {
			t.Errorf("ns%d has an MTU of %d, want %d", i, mtu, want)
		}
	}
	for _, m := range []*machine{first, second} {
		if mtu := must(m.Device("vxlan1"))(t).MTU; mtu != 1450 {
			t.Errorf("vxlan1 of %s has an MTU of %d, want 1450", m.Name, mtu)
		}
	}
	for _, way := range [][2]int{{0, 2}, {3, 1}} {
		_, err := lab.Transfer(hosts[way[0]], hosts[way[1]], netip.AddrPortFrom(addrs[way[1]], 0), transferred())
		check(t, err)
	}
}
