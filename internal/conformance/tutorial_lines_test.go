package conformance

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// machine is one of the tutorial's: a host, who its link is of, and the
// namespaces that its lines make.
type machine struct {
	*lab.Host
	kind  kind
	words func(t *testing.T, h *lab.Host, line string) // enters a line
	link  *link
	pods  map[string]*lab.Host
}

// newMachine plugs a machine into the tutorial's network.
func newMachine(t *testing.T, sw *lab.Switch, k kind, last, mtu int, literal bool) *machine {
	t.Helper()
	if k == kernel {
		lab.NeedKernelVXLAN(t)
	}
	m := &machine{Host: lab.TestHost(t, fmt.Sprintf("machine%d", last-10)), kind: k, pods: map[string]*lab.Host{}}
	addr := netip.MustParsePrefix(fmt.Sprintf("10.211.55.%d/24", last))
	addr6 := netip.MustParsePrefix(fmt.Sprintf("fd00:211:55::%d/64", last))
	check(t, sw.Plug(lab.Port{Host: m.Host, MTU: mtu, Addrs: []netip.Prefix{addr, addr6}}))
	m.words = m.replay
	if literal {
		m.words = m.literal
	}
	return m
}

// follow enters lines, of a comment none.
func (m *machine) follow(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			m.enter(t, m.Host, line)
		}
	}
}

// enter does what a line says: the link is weft's where the machine's is, and
// the line then begins with weft for ip.
func (m *machine) enter(t *testing.T, h *lab.Host, line string) {
	t.Helper()
	words := strings.Fields(line)
	switch {
	case strings.HasPrefix(line, "ip link add vxlan1 ") && m.kind == user:
		lab.NeedTUN(t)
		w := newWeft(t, h)
		must(w.Must(words[1:]...))(t)
		m.link = &link{Host: h, kind: user, dev: "vxlan1", weft: w}
	case strings.HasPrefix(line, "ip link add vxlan1 "):
		m.words(t, h, line)
		m.link = &link{Host: h, kind: kernel, dev: "vxlan1"}
	case words[0] == "ping":
		ping(t, h, netip.MustParseAddr(words[1]))
	case strings.HasPrefix(line, "ip netns exec ") && words[4] == "ping":
		m.enter(t, m.pods[words[3]], strings.Join(words[4:], " "))
	case strings.HasPrefix(line, "ip netns add "):
		m.addPod(t, words[3])
	default:
		m.words(t, h, line)
	}
	if line == "ip link set vxlan1 up" {
		awaitMembers(t, h, netip.MustParseAddr("239.1.1.1"), true)
	}
}

// ping pings until there is an answer, as somebody does who looks whether it
// works already (a device may find its carrier a moment after the line that
// brings it up), and wants three more answers.
func ping(t *testing.T, h *lab.Host, to netip.Addr) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error { return h.Ping(to, lab.PingOptions{}).Lost() }))
	check(t, h.Ping(to, lab.PingOptions{Count: 3}).Lost())
}

// addPod makes a namespace, by ip or without.
func (m *machine) addPod(t *testing.T, name string) {
	t.Helper()
	m.words(t, m.Host, "ip netns add "+name)
	if m.pods[name] == nil { // ip made it
		m.pods[name] = must(lab.OpenHost(name, "/var/run/netns/"+name))(t)
		t.Cleanup(func() {
			check(t, m.pods[name].Close())
			m.literal(t, m.Host, "ip netns del "+name)
		})
	}
	check(t, m.pods[name].Sysctl("net.ipv6.conf.all.disable_ipv6", "1")) // so that it is quiet
}

// literal runs a line as it stands.
func (m *machine) literal(t *testing.T, h *lab.Host, line string) {
	t.Helper()
	words := strings.Fields(line)
	out := must(h.Run(nil, words[0], words[1:]...))(t)
	if out.Status != 0 {
		t.Fatalf("%s: status %d: %s", line, out.Status, out.Stderr)
	}
}

// haveIP tells whether lines can be run literally.
func haveIP() bool {
	_, err := exec.LookPath("ip")
	return err == nil
}

// replay does over netlink what ip would.
func (m *machine) replay(t *testing.T, h *lab.Host, line string) {
	t.Helper()
	words := strings.Fields(line)
	is := func(beginning string) bool { return strings.HasPrefix(line+" ", beginning+" ") }
	switch {
	case is("ip netns add"):
		m.pods[words[3]] = lab.TestHost(t, words[3])
	case is("ip netns exec"):
		m.replay(t, m.pods[words[3]], strings.Join(words[4:], " "))
	case is("ip addr add"), is("ip add a"):
		check(t, h.AddAddr(words[5], netip.MustParsePrefix(words[3])))
	case is("ip link add") && words[len(words)-2] == "type":
		check(t, h.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: words[3], TxQLen: -1}}))
	case is("ip link add") && words[5] == "veth":
		check(t, h.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: words[3], TxQLen: -1}, PeerName: words[8]}))
	case is("ip link add"):
		check(t, h.AddKernelVXLAN(parseVXLAN(t, words[3:])))
	case is("ip link set") && words[4] == "up":
		check(t, h.SetUp(words[3]))
	case is("ip link set") && words[4] == "netns":
		check(t, h.Move(words[3], m.pods[words[5]]))
	case is("ip link set") && words[4] == "master":
		check(t, h.SetMaster(words[5], words[3]))
	default:
		t.Fatalf("no way to replay %q", line)
	}
}

// parseVXLAN reads "NAME type vxlan" and pairs of a word and its value.
func parseVXLAN(t *testing.T, words []string) lab.VXLAN {
	t.Helper()
	v := lab.VXLAN{Name: words[0]}
	for pair := range slices.Chunk(words[3:], 2) {
		number := func(bits int) uint64 { return must(strconv.ParseUint(pair[1], 10, bits))(t) }
		switch pair[0] {
		case "id":
			v.ID = uint32(number(24))
		case "dstport":
			v.Port = uint16(number(16))
		case "remote", "group":
			v.Remote = netip.MustParseAddr(pair[1])
		case "local":
			v.Local = netip.MustParseAddr(pair[1])
		case "dev":
			v.Dev = pair[1]
		default:
			t.Fatalf("no way to replay the word %q", pair[0])
		}
	}
	return v
}
