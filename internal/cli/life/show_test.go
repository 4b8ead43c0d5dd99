package life

import (
	"encoding/json"
	"net/netip"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// needIP skips the test where there is nothing to compare with.
func needIP(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("there is no ip to compare with; install iproute2")
	}
	return path
}

// underlay gives the machine a device that dev can name.
func (m *machine) underlay() {
	m.t.Helper()
	check(m.t, lab.Connect(
		lab.Port{Host: m.Host, Dev: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		lab.Port{Host: lab.TestHost(m.t, "far"), Dev: "eth0"}))
}

// One line of a tutorial, once with ip and once with weft, must make devices
// that are shown alike.
func TestShowsWhatIPShows(t *testing.T) {
	ip := needIP(t)
	lab.NeedKernelVXLAN(t)
	user, kernel := newMachine(t, "user"), newMachine(t, "kernel")
	user.underlay()
	kernel.underlay()
	for _, words := range []string{
		"id 5 remote 192.0.2.2 local 192.0.2.1 dev eth0 dstport 4789",
		"id 0 dstport 0",
		"id 16777215 remote 192.0.2.2 dstport 8472 srcport 100 200 ttl 5 tos 10 df set noudpcsum",
		"id 6 remote 192.0.2.2 dstport 4789 srcport 5 5 ttl inherit tos inherit df inherit",
		"id 7 remote 192.0.2.2 dstport 4789 ttl auto tos 1 df unset udpcsum",
		"id 8 remote 2001:db8::2 local 2001:db8::1 dstport 4789 flowlabel 0xabc udp6zerocsumtx udp6zerocsumrx",
		"vni 9 local 192.0.2.1 dstport 4789 hoplimit 0x40 dsfield 0xb8",
		"id 10 remote 0.0.0.0 dstport 4789",
	} {
		t.Run(words, func(t *testing.T) {
			line := strings.Fields("link add vx0 mtu 1300 address 02:00:00:00:00:01 type vxlan " + words)
			mustRun(t, kernel, ip, line...)
			mustRun(t, user, "/proc/self/exe", line...)
			compareText(t,
				mustRun(t, kernel, ip, "-d", "link", "show", "vx0"),
				mustRun(t, user, "/proc/self/exe", "-d", "link", "show", "vx0"))
			compareJSON(t,
				mustRun(t, kernel, ip, "-j", "-d", "-s", "link", "show", "vx0"),
				mustRun(t, user, ip, "-j", "-d", "-s", "link", "show", "vx0"),
				mustRun(t, user, "/proc/self/exe", "-j", "-d", "-s", "link", "show", "vx0"))
			mustRun(t, kernel, ip, "link", "del", "vx0")
			mustRun(t, user, "/proc/self/exe", "link", "del", "vx0")
		})
	}
}

func mustRun(t *testing.T, m *machine, name string, args ...string) string {
	t.Helper()
	out, err := m.Run(m.env(), name, args...)
	if err != nil || out.Status != 0 {
		t.Fatalf("%s %s: %v, status %d, %s", name, strings.Join(args, " "), err, out.Status, out.Stderr)
	}
	return out.Stdout
}

// compareText wants the line that begins with vxlan to be all that ip's has up
// to its last word of vxlan's, and the other two to begin alike.
func compareText(t *testing.T, ip, weft string) {
	t.Helper()
	theirs, ours := lines(ip), lines(weft)
	if len(ours) < 3 || len(theirs) < 3 {
		t.Fatalf("ip:   %q\nweft: %q", theirs, ours)
	}
	_, theirFlags, _ := strings.Cut(theirs[0], ": ")
	_, ourFlags, _ := strings.Cut(ours[0], ": ")
	for what, pair := range map[string][2]string{
		"flags": {before(theirFlags, " qdisc"), before(ourFlags, " state")},
		"state": {theirFlags[strings.Index(theirFlags, " state"):], ourFlags[strings.Index(ourFlags, " state"):]},
		"MAC":   {before(theirs[1], " promiscuity"), before(ours[1], " promiscuity")},
		"vxlan": {strings.Replace(before(theirs[2], " addrgenmode"), " localbypass", "", 1), ours[2]},
	} {
		if strings.TrimSpace(pair[0]) != strings.TrimSpace(pair[1]) {
			t.Errorf("%s\nip:   %q\nweft: %q", what, pair[0], pair[1])
		}
	}
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

func before(s, end string) string {
	s, _, _ = strings.Cut(s, end)
	return s
}

// compareJSON wants the same values under the same keys as ip has: about the
// link those of the kernel's vxlan device, about the device those of weft's.
func compareJSON(t *testing.T, kernel, device, weft string) {
	t.Helper()
	theirs, facts, ours := object(t, kernel), object(t, device), object(t, weft)
	for key, value := range ours {
		if key == "linkinfo" || key == "offload" || key == "stats64" {
			continue
		}
		if !reflect.DeepEqual(value, facts[key]) {
			t.Errorf("%s is %v, ip says %v", key, value, facts[key])
		}
	}
	wanted := theirs["linkinfo"].(map[string]any)["info_data"].(map[string]any)
	for key, value := range ours["linkinfo"].(map[string]any)["info_data"].(map[string]any) {
		if key != "ttl_inherit" && !reflect.DeepEqual(value, wanted[key]) {
			t.Errorf("%s is %v, ip says %v", key, value, wanted[key])
		}
		delete(wanted, key)
	}
	delete(wanted, "learning") // nothing is learnt yet
	delete(wanted, "localbypass")
	if len(wanted) > 0 {
		t.Errorf("weft does not tell %v", wanted)
	}
	for direction, figures := range theirs["stats64"].(map[string]any) {
		for key := range figures.(map[string]any) {
			if _, ok := ours["stats64"].(map[string]any)[direction].(map[string]any)[key]; !ok {
				t.Errorf("no figure %s %s", direction, key)
			}
		}
	}
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var all []map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	return all[0]
}

func TestShowsTheBridge(t *testing.T) {
	ip := needIP(t)
	lab.NeedBridge(t)
	m := newMachine(t, "a")
	m.add("vx0", 5)
	for _, line := range []string{"link add br0 type bridge", "link set vx0 master br0", "link set vx0 up"} {
		mustRun(t, m, ip, strings.Fields(line)...)
	}
	if out := m.must("link show vx0").Stdout; !strings.Contains(out, "UP,LOWER_UP> mtu 1500 master br0 state ") {
		t.Errorf("shown: %s", out)
	}
	if got := object(t, m.must("link show vx0 -j").Stdout)["master"]; got != "br0" {
		t.Errorf("master %v", got)
	}
}
