package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// monitor collects the lines of `bridge monitor fdb`, or `weft monitor`, that
// are about one link.
type monitor struct {
	link   *link
	weft   *lab.Process
	kernel *lab.FDBMonitor
	fences int
}

// newMonitor starts one. Changes made afterwards are in its lines.
func newMonitor(t *testing.T, l *link) *monitor {
	t.Helper()
	m := &monitor{link: l}
	if l.kind == kernel {
		m.kernel = must(l.MonitorFDB())(t)
		t.Cleanup(func() { check(t, m.kernel.Close()) })
		return m
	}
	m.weft = must(l.weft.Spawn("monitor"))(t)
	t.Cleanup(func() {
		if _, err := m.weft.Stop(); err != nil {
			t.Error(err)
		}
	})
	m.fence(t)
	return m
}

// fencePrefix begins the MAC addresses of entries that are made so that what
// came before them has been printed.
const fencePrefix = "02:fe:0c:e0:"

// fence makes and deletes entries until one is printed.
func (m *monitor) fence(t *testing.T) {
	t.Helper()
	var mac string
	if err := lab.Eventually(waitLimit, func() error {
		if mac != "" && strings.Contains(m.weft.Stdout(), "Deleted "+mac+" ") {
			return nil
		}
		m.fences++
		mac = fmt.Sprintf("%s%02x:%02x", fencePrefix, m.fences>>8, m.fences&0xff)
		m.link.fdb(t, "add", mac, "dst", m.link.anyRemote())
		m.link.fdb(t, "del", mac)
		return lab.Eventually(waitLimit/10, func() error {
			if !strings.Contains(m.weft.Stdout(), "Deleted "+mac+" ") {
				return fmt.Errorf("weft monitor has not printed %s: %s", mac, m.weft.Stderr())
			}
			return nil
		})
	}); err != nil {
		t.Fatal(err)
	}
}

// lines are all so far, in their order.
func (m *monitor) lines(t *testing.T) (lines []string) {
	t.Helper()
	if m.link.kind == user {
		m.fence(t)
	}
	return m.seen(t)
}

// seen are those that have been printed by now.
func (m *monitor) seen(t *testing.T) (lines []string) {
	t.Helper()
	if m.link.kind == user {
		lines = printed(m.weft.Stdout())
	} else {
		for _, e := range must(m.kernel.Events())(t) {
			lines = append(lines, e.MonitorLine())
		}
	}
	return slices.DeleteFunc(lines, func(line string) bool {
		return strings.Contains(line, fencePrefix) || !strings.Contains(line, " dev "+m.link.dev+" ") || !strings.Contains(line, " self")
	})
}
