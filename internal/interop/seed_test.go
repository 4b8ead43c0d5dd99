package interop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// The tutorial's lines for its two machines. Where the link is weft's, the
// first of each reads "weft link add …".
var (
	seedFirst = []string{
		"ip link add vxlan0 type vxlan id 5 dstport 4789 remote 10.211.55.12 local 10.211.55.11 dev eth0",
		"ip addr add 10.20.1.2/24 dev vxlan0",
		"ip link set vxlan0 up",
	}
	seedSecond = []string{
		"ip link add vxlan0 type vxlan id 5 dstport 4789 remote 10.211.55.11 local 10.211.55.12 dev eth0",
		"ip addr add 10.20.1.3/24 dev vxlan0",
		"ip link set vxlan0 up",
	}
)

// TestSeed goes through the tutorial's link between two machines: its lines,
// what it looks at on them, its ping and its capture. The lines are replayed
// over netlink, and by ip itself where there is one.
func TestSeed(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		t.Run(p.String()+"/netlink", func(t *testing.T) { followSeed(t, p, replayLine) })
		if _, err := exec.LookPath("ip"); err == nil {
			t.Run(p.String()+"/ip", func(t *testing.T) { followSeed(t, p, literal) })
		}
	}
}

func followSeed(t *testing.T, p pairing, enter func(*testing.T, *lab.Host, string)) {
	a, b := lab.TestPair(t)
	for _, m := range []struct {
		kind
		*lab.Host
		lines []string
	}{{p.a, a, seedFirst}, {p.b, b, seedSecond}} {
		lines := m.lines
		if m.kind == user {
			lab.NeedTUN(t)
			newWeft(t, m.Host).must(strings.Fields(lines[0])[1:]...)
			lines = lines[1:]
		} else {
			lab.NeedKernelVXLAN(t)
		}
		for _, line := range lines {
			enter(t, m.Host, line)
		}
	}
	checkIfconfig(t, a, netip.MustParsePrefix("10.20.1.2/24"))
	checkIfconfig(t, b, netip.MustParsePrefix("10.20.1.3/24"))
	checkRoute(t, a)
	checkRoute(t, b)
	checkSeedPing(t, a, b)
	checkSeedCapture(t, a, b)
}

// literal runs a line as it stands.
func literal(t *testing.T, h *lab.Host, line string) {
	t.Helper()
	words := strings.Fields(line)
	out, err := h.Run(nil, words[0], words[1:]...)
	check(t, err)
	if out.Status != 0 {
		t.Fatalf("%s: status %d: %s", line, out.Status, out.Stderr)
	}
}

// replayLine does over netlink what ip would.
func replayLine(t *testing.T, h *lab.Host, line string) {
	t.Helper()
	switch words := strings.Fields(line); strings.Join(words[:3], " ") {
	case "ip link add":
		check(t, h.AddKernelVXLAN(parseLinkAdd(t, words[3:])))
	case "ip addr add":
		check(t, h.AddAddr(words[5], netip.MustParsePrefix(words[3])))
	case "ip link set":
		check(t, h.SetUp(words[3]))
	default:
		t.Fatalf("no way to replay %q", line)
	}
}

// parseLinkAdd reads "NAME type vxlan" and pairs of a word and its value.
func parseLinkAdd(t *testing.T, words []string) lab.VXLAN {
	t.Helper()
	v := lab.VXLAN{Name: words[0]}
	for words = words[3:]; len(words) > 1; words = words[2:] {
		switch value := words[1]; words[0] {
		case "id":
			n, err := strconv.ParseUint(value, 10, 24)
			check(t, err)
			v.ID = uint32(n)
		case "dstport":
			n, err := strconv.ParseUint(value, 10, 16)
			check(t, err)
			v.Port = uint16(n)
		case "remote":
			v.Remote = netip.MustParseAddr(value)
		case "local":
			v.Local = netip.MustParseAddr(value)
		case "dev":
			v.Dev = value
		default:
			t.Fatalf("no way to replay the word %q", words[0])
		}
	}
	return v
}

// checkIfconfig wants what ifconfig shows of the device.
func checkIfconfig(t *testing.T, h *lab.Host, addr netip.Prefix) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		d, err := h.Device("vxlan0")
		check(t, err)
		if want := net.FlagUp | net.FlagBroadcast | net.FlagRunning | net.FlagMulticast; d.Flags != want {
			return fmt.Errorf("%s: flags %v, want %v", h.Name, d.Flags, want)
		}
		if d.MTU != 1450 || len(d.MAC) != 6 || !slices.Contains(d.Addresses, addr) {
			return fmt.Errorf("%s: %+v, want mtu 1450, a MAC address and %v", h.Name, d, addr)
		}
		return nil
	}))
	if _, err := exec.LookPath("ifconfig"); err != nil {
		return
	}
	out, err := h.Run(nil, "ifconfig", "vxlan0")
	check(t, err)
	for _, part := range []string{`vxlan0: flags=\d+<UP,BROADCAST,RUNNING,MULTICAST> +mtu 1450\n`, `inet ` + addr.Addr().String() + ` +netmask 255\.255\.255\.0\b`} {
		if !regexp.MustCompile(part).MatchString(out.Stdout) {
			t.Errorf("%s: ifconfig shows no %s: %s", h.Name, part, out.Stdout)
		}
	}
}

// checkRoute wants the line of route -n for the link's network: 10.20.1.0,
// gateway 0.0.0.0, mask 255.255.255.0, flags U, metric 0, vxlan0.
func checkRoute(t *testing.T, h *lab.Host) {
	t.Helper()
	link, err := h.Netlink().LinkByName("vxlan0")
	check(t, err)
	routes, err := h.Netlink().RouteList(link, netlink.FAMILY_V4)
	check(t, err)
	if len(routes) != 1 || routes[0].Dst.String() != "10.20.1.0/24" || routes[0].Gw != nil || routes[0].Priority != 0 || routes[0].Type != unix.RTN_UNICAST {
		t.Errorf("%s: routes through vxlan0 are %v", h.Name, routes)
	}
	if _, err := exec.LookPath("route"); err != nil {
		return
	}
	out, err := h.Run(nil, "route", "-n")
	check(t, err)
	if line := `(?m)^10\.20\.1\.0 +0\.0\.0\.0 +255\.255\.255\.0 +U +0 +0 +0 vxlan0$`; !regexp.MustCompile(line).MatchString(out.Stdout) {
		t.Errorf("%s: route -n shows no %s: %s", h.Name, line, out.Stdout)
	}
}

// checkSeedPing pings as the tutorial does, with the largest packet that fits,
// and with one byte more, which is refused before anything leaves the host.
func checkSeedPing(t *testing.T, a, b *lab.Host) {
	t.Helper()
	to := netip.MustParseAddr("10.20.1.2")
	check(t, b.Ping(to, lab.PingOptions{Count: 3, Size: 56}).Lost())
	check(t, b.Ping(to, lab.PingOptions{Size: 1422, DF: true}).Lost())
	capture := lab.TestCapture(t, a, "eth0")
	r := b.Ping(to, lab.PingOptions{Size: 1423, DF: true})
	if !errors.Is(r.Err, unix.EMSGSIZE) || r.Received != 0 {
		t.Errorf("ping -s 1423 -M do: %+v, want EMSGSIZE", r)
	}
	for _, e := range dissect.VXLANs(capture.Stop(), 4789) {
		if e.Inner.Layer(layers.LayerTypeICMPv4) != nil {
			t.Errorf("ping -s 1423 -M do sent %v", e.Inner)
		}
	}
}

// checkSeedCapture does as `tcpdump -w linux-vxlan.cap` does, reads the file
// back and looks for what the tutorial points out in it.
func checkSeedCapture(t *testing.T, a, b *lab.Host) {
	t.Helper()
	capture := lab.TestCapture(t, b, "eth0")
	check(t, b.Ping(netip.MustParseAddr("10.20.1.2"), lab.PingOptions{Count: 2}).Lost())
	capture.Stop()
	file := filepath.Join(t.TempDir(), "linux-vxlan.cap")
	check(t, dissect.WritePcap(capture, file))
	requests, replies := 0, 0
	for _, f := range readPcap(t, file) {
		e, ok := dissect.DecodeVXLAN(f, 4789)
		if !ok {
			continue
		}
		icmp, ok := e.Inner.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		if !ok {
			continue
		}
		outer, inside := e.IPv4.NetworkFlow().String(), e.Inner.NetworkLayer().NetworkFlow().String()
		if !bytes.Equal(e.Header, []byte{0x08, 0, 0, 0, 0, 0, 5, 0}) || !e.VXLAN.ValidIDFlag || e.VXLAN.VNI != 5 {
			t.Errorf("header % x, want flags [I] (0x08), vni 5", e.Header)
		}
		switch {
		case icmp.TypeCode.Type() == layers.ICMPv4TypeEchoRequest && outer == "10.211.55.12->10.211.55.11" && inside == "10.20.1.3->10.20.1.2":
			requests++
		case icmp.TypeCode.Type() == layers.ICMPv4TypeEchoReply && outer == "10.211.55.11->10.211.55.12" && inside == "10.20.1.2->10.20.1.3":
			replies++
		default:
			t.Errorf("an ICMP message of type %v from %s to %s in %s", icmp.TypeCode, a.Name, inside, outer)
		}
	}
	if requests != 2 || replies != 2 {
		t.Errorf("%d echo requests and %d replies in the capture file, want 2 and 2", requests, replies)
	}
}

// readPcap reads the frames of a capture file.
func readPcap(t *testing.T, path string) (frames []lab.Frame) {
	t.Helper()
	file, err := os.Open(path)
	check(t, err)
	defer file.Close()
	r, err := pcapgo.NewReader(file)
	check(t, err)
	if r.LinkType() != layers.LinkTypeEthernet {
		t.Errorf("the capture file's link type is %v", r.LinkType())
	}
	packets := gopacket.NewPacketSource(r, r.LinkType())
	for p := range packets.Packets() {
		frames = append(frames, lab.Frame{Time: p.Metadata().Timestamp, Length: p.Metadata().Length, Data: p.Data()})
	}
	return frames
}
