package interop

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// addWords is the line for a link of the tutorial's with a name and VNI of its own.
func addWords(name string, id int) []string {
	return []string{"link", "add", name, "type", "vxlan", "id", fmt.Sprint(id), "remote", underlay4.b.String(), "dev", "eth0", "dstport", "4789"}
}

// newLoneWeft is weft in a host with a wire, before its first link.
func newLoneWeft(t *testing.T) *weft {
	t.Helper()
	lab.NeedTUN(t)
	h, _ := lab.TestPair(t)
	return newWeft(t, h)
}

// files lists the run directory.
func (w *weft) files() (names []string) {
	entries, _ := os.ReadDir(w.dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestDaemonLife follows a daemon from the first link to the last.
func TestDaemonLife(t *testing.T) {
	t.Parallel()
	w := newLoneWeft(t)
	if out := w.run("link", "show"); out.Status != 0 || out.Stdout != "" || len(w.files()) != 0 {
		t.Errorf("before the first link: status %d, %q, run directory %v", out.Status, out.Stdout, w.files())
	}
	w.must(addWords("one", 1)...)
	inode, err := w.host.Inode()
	check(t, err)
	socket := filepath.Join(w.dir, fmt.Sprintf("%d.sock", inode))
	info, err := os.Stat(socket)
	check(t, err)
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the control socket's mode is %v, want a socket's and 0600", info.Mode())
	}
	if !slices.Contains(w.files(), fmt.Sprintf("%d.log", inode)) || !strings.Contains(w.log(), "one") {
		t.Errorf("no log beside the socket: %v, %q", w.files(), w.log())
	}
	pid := w.pid(t)
	w.must(addWords("two", 2)...)
	if now := w.pid(t); now != pid || len(w.sockets()) != 1 {
		t.Errorf("processes %d and %d serve one namespace: %v", pid, now, w.files())
	}
	w.must("link", "del", "one")
	if got := w.names(); !slices.Equal(got, []string{"two"}) {
		t.Errorf("links left: %v", got)
	}
	w.must("link", "del", "two")
	w.checkEnded(t, pid)
}

// stillRuns is an error as long as a process does.
func stillRuns(pid int) error {
	if isRunning(pid) {
		return fmt.Errorf("process %d still runs", pid)
	}
	return nil
}

// checkEnded waits until the daemon is gone and has left nothing to stumble
// over. Its log may stay: somebody should read it then.
func (w *weft) checkEnded(t *testing.T, pid int) {
	t.Helper()
	check(t, w.ended())
	check(t, lab.Eventually(waitLimit, func() error {
		if err := stillRuns(pid); err != nil {
			return err
		}
		for _, name := range w.files() {
			if filepath.Ext(name) != ".log" {
				return fmt.Errorf("%s is still in the run directory", name)
			}
		}
		return nil
	}))
	if names := deviceNames(t, w.host); !slices.Equal(names, []string{"eth0", "lo"}) {
		t.Errorf("devices left: %v", names)
	}
}

// isRunning tells a process from one that nobody has asked for its status yet.
func isRunning(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

func deviceNames(t *testing.T, h *lab.Host) (names []string) {
	t.Helper()
	for _, l := range linkList(t, h) {
		names = append(names, l.Attrs().Name)
	}
	slices.Sort(names)
	return names
}

// linkList lists a host's devices. Where one comes or goes meanwhile, the
// kernel says that the list may lack something.
func linkList(t *testing.T, h *lab.Host) (links []netlink.Link) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() (err error) {
		links, err = h.Netlink().LinkList()
		return err
	}))
	return links
}

// TestDaemonEndsWithDevices deletes the devices as `ip link del` does.
func TestDaemonEndsWithDevices(t *testing.T) {
	t.Parallel()
	w := newLoneWeft(t)
	w.must(addWords("one", 1)...)
	w.must(addWords("two", 2)...)
	pid := w.pid(t)
	check(t, w.host.Delete("one"))
	check(t, lab.Eventually(waitLimit, func() error {
		if got := w.names(); !slices.Equal(got, []string{"two"}) {
			return fmt.Errorf("links left: %v", got)
		}
		return nil
	}))
	check(t, w.host.Delete("two"))
	w.checkEnded(t, pid)
}

// TestAddMeetsAnEndingDaemon has every add come while the daemon before is on
// its way out.
func TestAddMeetsAnEndingDaemon(t *testing.T) {
	w := newLoneWeft(t)
	for i := range 30 {
		w.must(addWords("vx", i)...)
		checkHeld(t, w.host, 4789, false)
		if i%2 == 0 {
			w.must("link", "del", "vx")
		} else {
			check(t, w.host.Delete("vx"))
			check(t, lab.Eventually(freed, func() error { return bindError(w.host, 4789, false) }))
		}
	}
}

// TestAddsAtOnce starts several adds where there is no daemon: one is started,
// and serves all. Deleting them at once ends it, and then the next round comes.
func TestAddsAtOnce(t *testing.T) {
	t.Parallel()
	w := newLoneWeft(t)
	for range 5 {
		w.atOnce(t, func(i int) []string { return addWords(fmt.Sprint("vx", i), i) })
		names := w.names()
		slices.Sort(names)
		if want := []string{"vx0", "vx1", "vx2"}; !slices.Equal(names, want) || len(w.sockets()) != 1 {
			t.Fatalf("links %v, daemons %v", names, w.sockets())
		}
		w.atOnce(t, func(i int) []string { return []string{"link", "del", fmt.Sprint("vx", i)} })
	}
}

// atOnce runs three commands side by side, which all have to succeed.
func (w *weft) atOnce(t *testing.T, words func(i int) []string) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			out, err := w.line.RunAlone(words(i)...)
			if err != nil || out.Status != 0 {
				t.Errorf("weft %v: status %d, %v: %s", words(i), out.Status, err, out.Stderr)
			}
		})
	}
	all.Wait()
}

// TestAddWhileTheLastGoes has a new link come in the moment in which the last
// one is deleted: either the same daemon goes on, or another one follows it.
func TestAddWhileTheLastGoes(t *testing.T) {
	t.Parallel()
	w := newLoneWeft(t)
	w.must(addWords("vx0", 0)...)
	for i := range 20 {
		last := fmt.Sprint("vx", i)
		next := fmt.Sprint("vx", i+1)
		w.atOnce(t, func(at int) []string {
			return [][]string{{"link", "del", last}, addWords(next, i+1), {"version"}}[at]
		})
		if names := w.names(); !slices.Equal(names, []string{next}) {
			t.Fatalf("links %v, want %s", names, next)
		}
	}
}
