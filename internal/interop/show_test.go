package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/dataplane"
	"github.com/weftnet/weft/internal/lab"
)

// showCase is a link as words give it, and as ip tells it.
type showCase struct {
	words string
	line  string // behind "vxlan "
	data  string // linkinfo.info_data of JSON
}

var showCases = []showCase{
	{"id 5 dstport 4789 remote 10.211.55.12 local 10.211.55.11 dev eth0",
		"id 5 remote 10.211.55.12 local 10.211.55.11 dev eth0 srcport 0 0 dstport 4789 ttl auto ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx",
		`{"id":5,"remote":"10.211.55.12","local":"10.211.55.11","link":"eth0","port_range":{"low":0,"high":0},"port":4789,"learning":true,"ttl":0,"df":"unset","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}`},
	{"id 16777215 dstport 8472 remote fd00:211:55::12 srcport 5000 6000 ttl 7 tos 28 df set flowlabel 0x12345 noudpcsum udp6zerocsumtx udp6zerocsumrx",
		"id 16777215 remote fd00:211:55::12 srcport 5000 6000 dstport 8472 tos 0x28 ttl 7 df set flowlabel 0x12345 ageing 300 noudpcsum udp6zerocsumtx udp6zerocsumrx",
		`{"id":16777215,"remote6":"fd00:211:55::12","port_range":{"low":5000,"high":6000},"port":8472,"learning":true,"tos":"0x28","ttl":7,"df":"set","label":"0x12345","ageing":300,"udp_csum":false,"udp_zero_csum6_tx":true,"udp_zero_csum6_rx":true}`},
	{"id 0 dstport 4789 ttl inherit tos inherit df inherit",
		"id 0 srcport 0 0 dstport 4789 tos inherit ttl inherit df inherit ageing 300 udpcsum noudp6zerocsumtx noudp6zerocsumrx",
		`{"id":0,"port_range":{"low":0,"high":0},"port":4789,"learning":true,"tos":"0x1","ttl_inherit":true,"df":"inherit","ageing":300,"udp_csum":true,"udp_zero_csum6_tx":false,"udp_zero_csum6_rx":false}`},
}

// TestLinkShow compares what weft shows with what ip -d shows of the kernel's
// device that was made of the same words.
func TestLinkShow(t *testing.T) {
	t.Parallel()
	for _, c := range showCases {
		t.Run(c.words, func(t *testing.T) {
			w := newLoneWeft(t)
			w.must(append([]string{"link", "add", "vx", "type", "vxlan"}, strings.Fields(c.words)...)...)
			check(t, w.host.SetUp("vx"))
			d, err := w.host.Device("vx")
			check(t, err)
			head := fmt.Sprintf("%d: vx: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu %d state UP mode DEFAULT group default qlen 1000\n    link/ether %s brd ff:ff:ff:ff:ff:ff", d.Index, d.MTU, d.MAC)
			for _, flag := range []string{"", "-d"} {
				out := w.must(strings.Fields("link show vx " + flag)...)
				if !strings.HasPrefix(out, head) || !strings.Contains(out, "\n    vxlan "+c.line+"\n    offload dev_gso on") {
					t.Errorf("link show %s prints\n%s, want\n%s …\n    vxlan %s", flag, out, head, c.line)
				}
				if detailed := strings.Contains(out, " promiscuity 0 "); detailed != (flag == "-d") {
					t.Errorf("link show %s prints\n%s", flag, out)
				}
			}
			checkShownJSON(t, w, d, c.data)
			compareWithIP(t, w.must("link", "show", "vx", "-d"), c)
		})
	}
}

func checkShownJSON(t *testing.T, w *weft, d lab.Device, data string) {
	t.Helper()
	var all []map[string]json.RawMessage
	check(t, json.Unmarshal([]byte(w.must("link", "show", "-j")), &all))
	if len(all) != 1 {
		t.Fatalf("%d links", len(all))
	}
	for key, want := range map[string]string{
		"ifindex": fmt.Sprint(d.Index), "ifname": `"vx"`, "mtu": fmt.Sprint(d.MTU), "address": fmt.Sprintf("%q", d.MAC), "operstate": `"UP"`,
		"flags": `["BROADCAST","MULTICAST","UP","LOWER_UP"]`, "linkinfo": `{"info_kind":"vxlan","info_data":` + data + `}`,
		"offload": `{"dev_gso":"on","dev_ring":"on","dev_uso":"on","shortcut_rx":"on","shortcut_tx":"on","tunnel_gso":"on","udp_gro":"on","udp_gso":"on"}`,
	} {
		if key == "offload" && (noVXLANExpected() || lab.LackOfTunnelGSO() != nil || lab.LackOfShortcuts() != nil) {
			continue
		}
		if got := string(all[0][key]); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if _, ok := all[0]["stats64"]; ok {
		t.Error("figures are in it, and were not asked for")
	}
}

// newerWords are those that ip prints or not, by its version.
var newerWords = regexp.MustCompile(` (no)?(localbypass|learning|mcroute)\b`)

// compareWithIP has ip itself show the kernel's device.
func compareWithIP(t *testing.T, shown string, c showCase) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		return
	}
	lab.NeedKernelVXLAN(t)
	h, _ := lab.TestPair(t)
	literal(t, h, "ip link add vx type vxlan "+c.words)
	out, err := h.Run(nil, "ip", "-d", "link", "show", "vx")
	check(t, err)
	line := vxlanWordsOf(newerWords.ReplaceAllString(out.Stdout, ""))
	if got := vxlanWordsOf(shown); got != line {
		t.Errorf("weft shows\n%s\nand ip\n%s", got, line)
	}
}

// vxlanWordsOf returns the words of a link's type; those of every device
// follow on the same line where ip prints them.
func vxlanWordsOf(text string) string {
	_, text, _ = strings.Cut(text, "    vxlan ")
	text, _, _ = strings.Cut(text, "\n")
	text, _, _ = strings.Cut(text, " addrgenmode")
	return strings.TrimSpace(text)
}

// TestStatistics reads figures in every form that they are printed in.
func TestStatistics(t *testing.T) {
	t.Parallel()
	a, b := connect(t, pairing{user, kernel}, underlay4, nil)
	check(t, a.Ping(b.addr, lab.PingOptions{Count: 5}).Lost())
	a.weft.must(addWords("idle", 6)...)

	s := a.weft.stats("vxlan0")
	if s.Name != "vxlan0" || s.RxPackets < 6 || s.TxPackets < 6 || s.RxBytes < 5*28 || s.Syscalls.DevRead == 0 || s.Syscalls.DevWrite == 0 || s.Syscalls.UDPSend == 0 || s.Syscalls.UDPRecv == 0 {
		t.Errorf("stats vxlan0 -j: %+v", s)
	}
	reasons := strings.Fields(`short_header no_vni_flag unknown_vni reserved_bits short_frame own_source invalid_source pinned_source source_not_allowed
		bad_length checksum ecn vlan no_route fdb_miss too_big ttl send_error device_full device_down socket_full`)
	for _, reason := range reasons {
		if _, ok := s.Drops[reason]; !ok {
			t.Errorf("drops of stats -j lacks %s: %v", reason, slices.Sorted(maps.Keys(s.Drops)))
		}
	}
	var all []dataplane.Stats
	check(t, json.Unmarshal([]byte(a.weft.must("stats", "-j")), &all))
	if len(all) != 2 || all[0].Name != "vxlan0" || all[1].Name != "idle" || all[1].RxPackets != 0 {
		t.Errorf("stats -j: %+v", all)
	}
	checkShownFigures(t, a.weft)
}

// checkShownFigures looks at what stats prints, and link show -s in ip's columns
// and in JSON, at a moment in which nothing moved.
func checkShownFigures(t *testing.T, w *weft) {
	t.Helper()
	var s dataplane.Stats
	var plain, text, all string
	check(t, lab.Eventually(waitLimit, func() error {
		s, plain = w.statsShown("vxlan0"), w.must("stats")
		text, all = w.must("link", "show", "vxlan0", "-s"), w.must("link", "show", "vxlan0", "-s", "-j")
		if now := w.statsShown("vxlan0"); now.RxPackets != s.RxPackets || now.TxPackets != s.TxPackets {
			return errors.New("packets pass all the time")
		}
		return nil
	}))
	for _, line := range []string{`^vxlan0:$`, `^idle:$`, fmt.Sprintf(`^    rx_packets +%d$`, s.RxPackets), `^    syscalls dev_read +\d+$`, `^    offload udp_gro +0$`} {
		if !regexp.MustCompile(`(?m)` + line).MatchString(plain) {
			t.Errorf("stats has no line %s: %s", line, plain)
		}
	}
	for _, part := range []string{
		fmt.Sprintf(`\n    RX: +bytes packets errors dropped +missed +mcast\n +%d +%d +0 +\d+ +0 +0\n`, s.RxBytes, s.RxPackets),
		fmt.Sprintf(`\n    TX: +bytes packets errors dropped carrier collsns\n +%d +%d +0 +0 +0 +0\n`, s.TxBytes, s.TxPackets),
	} {
		if !regexp.MustCompile(part).MatchString(text) {
			t.Errorf("link show -s has no %s: %s", part, text)
		}
	}
	var links []struct {
		Stats struct {
			RX, TX struct{ Bytes, Packets uint64 }
		} `json:"stats64"`
	}
	check(t, json.Unmarshal([]byte(all), &links))
	if got := links[0].Stats; got.RX.Bytes != s.RxBytes || got.RX.Packets != s.RxPackets || got.TX.Bytes != s.TxBytes || got.TX.Packets != s.TxPackets {
		t.Errorf("stats64 is %+v, and stats %+v", got, s)
	}
}

// TestWordsWithoutLinks runs what needs no link.
func TestWordsWithoutLinks(t *testing.T) {
	t.Parallel()
	w := newLoneWeft(t)
	if out := w.must("version"); !regexp.MustCompile(`^weft \S+, go1\.\d+\S*, linux/\w+\n$`).MatchString(out) {
		t.Errorf("version: %q", out)
	}
	var v struct{ Version, Go, OS, Arch string }
	check(t, json.Unmarshal([]byte(w.must("version", "-j")), &v))
	if v.Go == "" || v.OS != "linux" || v.Arch == "" {
		t.Errorf("version -j: %+v", v)
	}
	for shell, part := range map[string]string{"bash": "complete", "zsh": "compdef", "fish": "complete", "powershell": "Register-ArgumentCompleter"} {
		if out := w.must("completion", shell); !strings.Contains(out, part) || !strings.Contains(out, "weft") {
			t.Errorf("completion %s: %d bytes without %s", shell, len(out), part)
		}
	}
	for _, words := range []string{"link show", "link", "stats", "link show -s -d"} {
		if out := w.must(strings.Fields(words)...); out != "" {
			t.Errorf("%s without links: %q", words, out)
		}
	}
	for _, words := range []string{"link show -j", "link -j", "stats -j"} {
		if out := w.must(strings.Fields(words)...); out != "[]\n" {
			t.Errorf("%s without links: %q", words, out)
		}
	}
	for _, words := range []string{"-h", "link -h", "link add -h", "link add help", "help link", "daemon -h", "stats -h"} {
		if out := w.must(strings.Fields(words)...); !strings.Contains(out, "weft") {
			t.Errorf("%s: %q", words, out)
		}
	}
	if files := w.files(); len(files) != 0 {
		t.Errorf("in the run directory: %v", files)
	}
}
