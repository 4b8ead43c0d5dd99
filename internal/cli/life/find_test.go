package life

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/control"
)

// Both hosts share the run directory, as namespaces of one machine do.
func twoNamespaces(t *testing.T) (a, b *machine) {
	t.Helper()
	a, b = newMachine(t, "a"), newMachine(t, "b")
	b.dir = a.dir
	return a, b
}

func TestLinkIsFoundWhereItsDeviceIs(t *testing.T) {
	a, b := twoNamespaces(t)
	a.add("vx0", 5)
	b.add("vx1", 5)
	check(t, a.Move("vx0", b.Host))
	if got := a.names(); len(got) != 0 {
		t.Errorf("links in a: %v", got)
	}
	if got := b.names(); !slices.Contains(got, "vx0") || len(got) != 2 {
		t.Errorf("links in b: %v", got)
	}
	a.refuse("stats vx0", `"vx0"`)
	a.refuse("link del vx0", `"vx0"`)
	if out := b.must("stats vx0 -j").Stdout; !strings.HasPrefix(out, `{"name":"vx0"`) {
		t.Errorf("stats in b: %s", out)
	}
	b.must("link del vx0")
	a.mustEnd()
	if got := b.names(); !slices.Equal(got, []string{"vx1"}) {
		t.Errorf("links in b: %v", got)
	}
	b.must("link del vx1")
	b.mustEnd()
}

// A device of one name in each namespace: the caller's own is meant.
func TestSameNameInTwoNamespaces(t *testing.T) {
	a, b := twoNamespaces(t)
	a.add("vx0", 5)
	b.add("vx0", 6)
	if out := b.must("link show vx0").Stdout; !strings.Contains(out, "vxlan id 6 ") {
		t.Errorf("b shows %s", out)
	}
	b.must("link del vx0")
	if got := a.names(); !slices.Equal(got, []string{"vx0"}) {
		t.Errorf("links in a: %v", got)
	}
	a.must("link del vx0")
}

func TestRenamedLinkIsFoundByItsNewName(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	link, err := m.Netlink().LinkByName("vx0")
	check(t, err)
	check(t, m.Netlink().LinkSetName(link, "vx9"))
	if got := m.names(); !slices.Equal(got, []string{"vx9"}) {
		t.Errorf("links %v", got)
	}
	if out := m.must("stats -j").Stdout; !strings.HasPrefix(out, `[{"name":"vx9"`) {
		t.Errorf("stats %s", out)
	}
	m.refuse("link show vx0", "vx9")
	m.must("link del vx9")
	m.mustEnd()
}

func TestOtherDevicesAreNotWefts(t *testing.T) {
	m := newMachine(t, "a")
	m.refuse("link show lo", "not weft's")
	m.refuse("link del lo", "ip link")
	m.refuse("link show vx0", "weft link add")
	if got := m.must("stats -j").Stdout; got != "[]\n" {
		t.Errorf("stats without links: %q", got)
	}
	if got := m.must("stats").Stdout; got != "" {
		t.Errorf("stats without links: %q", got)
	}
}

// A daemon that hangs costs its links, not those of the others.
func TestDaemonThatDoesNotAnswer(t *testing.T) {
	m := newMachine(t, "a")
	m.add("vx0", 5)
	l, err := control.Listen(m.dir.Socket(1))
	check(t, err)
	defer l.Close()
	go swallow(l)
	out := m.run("link show -j")
	if out.Status != 1 || !strings.Contains(out.Stdout, `"vx0"`) || !strings.Contains(out.Stderr, m.dir.Socket(1)) {
		t.Errorf("status %d, %s, %s", out.Status, out.Stdout, out.Stderr)
	}
	m.refuse("stats vx1", "not all daemons could be asked")
	m.must("link del vx0")
}

// swallow accepts and never answers.
func swallow(l *net.UnixListener) {
	var held []net.Conn
	for {
		conn, err := l.Accept()
		if err != nil {
			for _, c := range held {
				c.Close()
			}
			return
		}
		held = append(held, conn)
	}
}
