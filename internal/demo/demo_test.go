//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/cli"
	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// actAsDemo makes the test binary be the demo, which then takes it for weft.
const actAsDemo = "WEFT_ACT_AS_DEMO"

func TestMain(m *testing.M) {
	vtep.ActAsWeft(cli.Main)
	if os.Getenv(actAsDemo) != "" {
		program = ""
		main()
		os.Exit(0)
	}
	lab.Main(m)
}

// TestDemoNoVXLAN runs the demo, on whichever kernel, and reads what it shows:
// beside the kernel's device where that can be made, by weft alone where not,
// which is said.
func TestDemoNoVXLAN(t *testing.T) {
	lab.NeedTUN(t)
	lab.NeedBridge(t)
	text, err := command().CombinedOutput()
	out := string(text)
	if err != nil {
		t.Fatalf("the demo failed: %v\n%s", err, out)
	}
	wants := slices.Concat(linkLines, memberLines("kernel", ""))
	ways := waysBy("kernel")
	if lab.LackOfKernelVXLAN() != nil {
		wants = append(memberLines("user", ": this kernel has no vxlan, so that this one is user as well"), regexp.QuoteMeta(noKernelVXLAN))
		ways = waysBy("user")
	}
	for _, want := range wants {
		if n := count(out, want); n != 1 {
			t.Errorf("%d lines are %s, want one", n, want)
		}
	}
	checkWays(t, out, ways)
	if t.Failed() {
		t.Log(out)
	}
}

// command is `make demo` with short turns. In the machine of test-novxlan there
// is nothing to build it with: there it is this program.
func command() *exec.Cmd {
	cmd := exec.Command("make", "-C", "../..", "demo", "DEMO_TURN=50ms")
	if os.Getenv("WEFT_NOVXLAN") != "" {
		cmd = exec.Command("/proc/self/exe")
	}
	// It has to make a world of its own.
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WEFT_LAB_") })
	cmd.Env = append(own, actAsDemo+"=1")
	return cmd
}

func count(out, line string) int {
	return len(regexp.MustCompile(`(?m)^`+line+`$`).FindAllString(out, -1))
}

// linkLines are of the link between weft and the kernel's device.
var linkLines = []string{
	`    vxlan0 is of type "tuntap", mtu 1450: userspace, by`,
	`    vxlan0 is of type "vxlan", mtu 1450: the kernel's own vxlan device`,
	`  user   → kernel  3 of 3 answered, .*`,
	`  kernel → user    3 of 3 answered, .*`,
	`  -s 1422 -M do answered, -s 1423 -M do: message too long`,
	`  user   → kernel  67108864 bytes arrived as they were sent, in \d+ ms`,
	`  kernel → user    67108864 bytes arrived as they were sent, in \d+ ms`,
	`  weft   → kernel +[\d.]+ Gbit/s +[\d.]+ of the kernel's`,
	`  kernel → weft +[\d.]+ Gbit/s +[\d.]+ of the kernel's`,
	`  VXLAN      08 00 00 00 00 00 05 00  VNI 5`,
	`    rx_packets +[1-9]\d*`,
}

// memberLines are the flannel network's nodes. That of kernel has a device of
// its own datapath.
func memberLines(kernel, why string) []string {
	line := func(name, addr, datapath, why string) string {
		return fmt.Sprintf(`  host %-8s %s  containers 10\.42\.\d+\.0/24 +flannel\.1 is vxlan %s%s`, name, regexp.QuoteMeta(addr), datapath, why)
	}
	return []string{
		line("user", "10.4.7.21", "user", ""),
		line("kernel", "10.4.8.22", kernel, why),
		line("host-gw", "10.4.7.23", "user", ""),
	}
}

// way is a row of the table: who reaches whom, and by what.
type way struct{ from, to, via string }

// waysBy are those of the network whose node kernel has this datapath.
func waysBy(kernel string) []way {
	overlay := func(datapath, vtep string) string {
		return fmt.Sprintf(`vxlan %s \(fdb [\da-f:]{17} dst %s\)`, datapath, regexp.QuoteMeta(vtep))
	}
	direct := func(gateway string) string {
		return fmt.Sprintf(`direct \(route via %s dev eth0\)`, regexp.QuoteMeta(gateway))
	}
	return []way{
		{"user", "kernel", overlay("user", "10.4.8.22")},
		{"user", "host-gw", direct("10.4.7.23")},
		{"kernel", "user", overlay(kernel, "10.4.7.21")},
		{"kernel", "host-gw", overlay(kernel, "10.4.7.23")},
		{"host-gw", "user", direct("10.4.7.21")},
		{"host-gw", "kernel", overlay("user", "10.4.8.22")},
	}
}

// checkWays wants these rows below the table's heading, and none beside them.
func checkWays(t *testing.T, out string, ways []way) {
	t.Helper()
	_, table, _ := strings.Cut(out, "\nWho reaches whom, container to container")
	if rows := strings.Count(table, "→"); rows != len(ways) {
		t.Errorf("the table has %d rows, want %d", rows, len(ways))
	}
	for _, w := range ways {
		row := fmt.Sprintf(`  %-7s → %-7s  ping ok \d+\.\d{3} ms, 4194304 bytes ok in \d+ ms, via %s`, w.from, w.to, w.via)
		if n := count(table, row); n != 1 {
			t.Errorf("%d rows say that %s reaches %s via %s, want one", n, w.from, w.to, w.via)
		}
	}
}
