package conformance

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/vtep"
)

// kind says what a link is made of.
type kind string

const (
	user   kind = "user"   // weft
	kernel kind = "kernel" // the kernel's vxlan device
)

// kinds are the two that a device under test may be of. The second is the
// control: if it fails, the test is wrong, not weft.
var kinds = []kind{user, kernel}

// spec describes a link of either kind.
type spec struct {
	lab.VXLAN
	Words []string       // behind weft's `link add` line only
	Addrs []netip.Prefix // of the device
}

// link is one VXLAN device in a host.
type link struct {
	*lab.Host
	kind kind
	dev  string
	v6   bool       // the underlay
	weft *vtep.Weft // nil for the kernel's
}

// anyRemote is an address that a remote may have, and has not.
func (l *link) anyRemote() string {
	if l.v6 {
		return "2001:db8:ffff::1"
	}
	return "198.51.100.254"
}

// newLink makes a link, gives it its addresses and brings it up.
func newLink(t *testing.T, h *lab.Host, k kind, s spec) *link {
	t.Helper()
	l := &link{Host: h, kind: k, dev: s.Name, v6: s.Local.Is6() || s.Remote.Is6()}
	if k == kernel {
		lab.NeedKernelVXLAN(t)
		check(t, h.AddKernelVXLAN(s.VXLAN))
	} else {
		lab.NeedTUN(t)
		l.weft = newWeft(t, h)
		must(l.weft.Must(vtep.Command(&s.VXLAN, s.Words...)...))(t)
	}
	for _, p := range s.Addrs {
		check(t, h.AddAddr(s.Name, p))
	}
	check(t, h.SetUp(s.Name))
	return l
}

// sibling makes one more link of the same kind in the same host.
func (l *link) sibling(t *testing.T, s spec) *link {
	t.Helper()
	if l.kind == kernel {
		return newLink(t, l.Host, kernel, s)
	}
	check(t, l.weft.AddLink(&s.VXLAN, s.Addrs, s.Words...))
	return &link{Host: l.Host, kind: l.kind, dev: s.Name, v6: l.v6, weft: l.weft}
}

// delete deletes the link.
func (l *link) delete(t *testing.T) {
	t.Helper()
	if l.kind == kernel {
		check(t, l.Delete(l.dev))
		return
	}
	must(l.weft.Must("link", "del", l.dev))(t)
}

// newWeft gives a host its own run directory, as a machine of its own would
// have. What is still there when the test ends is deleted.
func newWeft(t *testing.T, h *lab.Host) *vtep.Weft {
	t.Helper()
	dir := must(os.MkdirTemp(lab.RunDir(), "weft"))(t)
	// The race detector would have every command wait a second before it ends.
	w := &vtep.Weft{Host: h, Env: []string{"WEFT_RUN_DIR=" + dir, "GORACE=atexit_sleep_ms=0"}}
	t.Cleanup(func() { endWeft(t, w, dir) })
	return w
}

// endWeft deletes the links that a test left, waits for the daemon to end, and
// shows its log if the test failed.
func endWeft(t *testing.T, w *vtep.Weft, dir string) {
	for _, name := range linkNames(t, w, dir) {
		if _, err := w.Must("link", "del", name); err != nil {
			t.Error(err)
		}
	}
	err := lab.Eventually(waitLimit, func() error {
		if left := filesIn(dir, "*.sock"); len(left) > 0 {
			return fmt.Errorf("%s: daemon still there: %s", w.Host.Name, left)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
		vtep.Quit(dir)
	}
	if t.Failed() {
		for _, f := range filesIn(dir, "*.log") {
			text, _ := os.ReadFile(f)
			t.Logf("%s: daemon's log:\n%s", w.Host.Name, text)
		}
	}
	_ = os.RemoveAll(dir)
}

func filesIn(dir, pattern string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, pattern))
	return found
}

// linkNames are those of weft's links, if a daemon runs.
func linkNames(t *testing.T, w *vtep.Weft, dir string) (names []string) {
	t.Helper()
	if len(filesIn(dir, "*.sock")) == 0 {
		return nil
	}
	var links []struct {
		Name string `json:"ifname"`
	}
	out, err := w.Must("link", "show", "-j")
	if err == nil {
		err = json.Unmarshal([]byte(out), &links)
	}
	if err != nil {
		t.Error(err)
	}
	for _, l := range links {
		names = append(names, l.Name)
	}
	return names
}

// each runs one body for both kinds of device under test, in parallel with all
// else.
func each(t *testing.T, body func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			body(t, k)
		})
	}
}

// printed are the lines of a command's output, trailing blanks kept.
func printed(out string) []string {
	if out == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}
