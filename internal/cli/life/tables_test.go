package life

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// What the bridge knows of a port comes before what the port's table holds.
func TestTableOfABridgePort(t *testing.T) {
	m := newMachine(t, "a")
	m.must("link add vx0 address 02:00:00:00:00:01 type vxlan id 5 dstport 4789 remote 10.99.0.2")
	check(t, m.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}))
	m.must("link set vx0 master br0 up")
	for line, want := range map[string]string{
		"fdb show dev vx0": "02:00:00:00:00:01 master br0 permanent\n00:00:00:00:00:00 dst 10.99.0.2 self permanent\n",
		"fdb":              "02:00:00:00:00:01 dev vx0 master br0 permanent\n00:00:00:00:00:00 dev vx0 dst 10.99.0.2 self permanent\n",
		"fdb -j":           `[{"mac":"02:00:00:00:00:01","ifname":"vx0","flags":[],"master":"br0","state":"permanent"},{"mac":"00:00:00:00:00:00","ifname":"vx0","dst":"10.99.0.2","flags":["self"],"state":"permanent"}]` + "\n",
	} {
		if got := m.must(line).Stdout; got != want {
			t.Errorf("%s: got\n%swant\n%s", line, got, want)
		}
	}
	m.must("link set vx0 nomaster")
	if got := m.must("fdb show dev vx0").Stdout; strings.Contains(got, "br0") {
		t.Errorf("without a bridge\n%s", got)
	}
}

func TestTableOfAMovedLink(t *testing.T) {
	m, other := newMachine(t, "a"), newMachine(t, "b")
	other.dir = m.dir
	m.must("link add vx0 type vxlan id 5 dstport 4789 remote 10.99.0.2")
	check(t, m.Move("vx0", other.Host))
	if got := m.must("fdb").Stdout; got != "" {
		t.Errorf("where it was:\n%s", got)
	}
	if got, want := other.must("fdb show dev vx0").Stdout, "00:00:00:00:00:00 dst 10.99.0.2 link-netnsid 0 self permanent\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	other.must("fdb add 02:00:00:00:00:05 dev vx0 dst 10.99.0.3")
	other.must("link set vx0 type vxlan ageing 20")
	other.must("fdb flush dev vx0")
	if got := other.must("fdb show dev vx0").Stdout; got != "" {
		t.Errorf("after the flush\n%s", got)
	}
}

// The monitor watches before there is a daemon, sees every change once, and
// ends with either signal.
func TestMonitor(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		m := newMachine(t, "a")
		p, err := m.Spawn(m.env(), "/proc/self/exe", "monitor")
		check(t, err)
		m.add("vx0", 5)
		check(t, lab.Eventually(soon, func() error { // nobody knows when it has found the daemon
			m.must("fdb replace 02:00:00:00:00:01 dev vx0 dst 10.99.0.9")
			m.must("fdb del 02:00:00:00:00:01 dev vx0")
			if p.Stdout() == "" {
				return fmt.Errorf("nothing is printed; %s", p.Stderr())
			}
			return nil
		}))
		m.must("fdb add 02:00:00:00:00:02 dev vx0 dst 10.99.0.2")
		m.must("fdb del 02:00:00:00:00:02 dev vx0")
		m.must("link del vx0")
		m.add("vx0", 6) // by another daemon, perhaps
		check(t, lab.Eventually(soon, func() error {
			m.must("fdb replace 02:00:00:00:00:03 dev vx0 dst 10.99.0.9")
			m.must("fdb del 02:00:00:00:00:03 dev vx0")
			if !strings.Contains(p.Stdout(), "02:00:00:00:00:03") {
				return fmt.Errorf("%s", p.Stdout())
			}
			return nil
		}))
		check(t, p.Signal(signal))
		out, err := p.Wait(soon)
		if err != nil || out.Status != 0 || out.Stderr != "" {
			t.Errorf("%v: %v, status %d, %s", signal, err, out.Status, out.Stderr)
		}
		if want := "\n02:00:00:00:00:02 dev vx0 dst 10.99.0.2 self permanent\nDeleted 02:00:00:00:00:02 dev vx0 dst 10.99.0.2 self permanent\n"; strings.Count(out.Stdout, want) != 1 {
			t.Errorf("printed\n%s", out.Stdout)
		}
	}
}
