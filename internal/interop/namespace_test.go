package interop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
	vteps "github.com/weftnet/weft/internal/vtep"
)

// in is weft run in another host with the same run directory, as on one
// machine.
func (w *weft) in(h *lab.Host) *weft {
	return &weft{t: w.t, host: h, dir: w.dir, line: vteps.Weft{Host: h, Env: w.line.Env}}
}

// TestMove moves the device away: the link keeps running with its underlay
// where it was made, and is found where its device now is, nowhere else.
func TestMove(t *testing.T) {
	for how, del := range map[string]func(w *weft) error{
		"weft": func(w *weft) error { w.must("link", "del", "vxlan0"); return nil },
		"ip":   func(w *weft) error { return w.host.Delete("vxlan0") },
	} {
		t.Run(how, func(t *testing.T) {
			a, b := connect(t, pairing{user, kernel}, underlay4, nil)
			check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
			pod := lab.TestHost(t, "pod")
			there := a.weft.in(pod)
			check(t, a.Move("vxlan0", pod))
			check(t, pod.SetUp("vxlan0"))
			check(t, pod.AddAddr("vxlan0", innerA[0]))
			capture := lab.TestCapture(t, a.Host, "eth0")
			check(t, pod.Ping(b.addr, lab.PingOptions{Count: 3}).Lost())
			check(t, b.Ping(a.addr, lab.PingOptions{Count: 3}).Lost())
			addDecoy(t, a.Host, pod)
			if seen := dissect.VXLANs(capture.Stop(), 4789); len(seen) < 12 {
				t.Errorf("%d datagrams on the wire of the namespace where the link was made", len(seen))
			}
			checkMoved(t, a.weft, there)
			check(t, del(there))
			checkFreed(t, a.Host, 4789, false)
			check(t, a.weft.ended())
		})
	}
}

// addDecoy puts a bridge where the device was, of the same name, and of the
// same number as the device has where it is.
func addDecoy(t *testing.T, old, there *lab.Host) {
	t.Helper()
	d, err := there.Device("vxlan0")
	check(t, err)
	check(t, old.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "vxlan0", Index: d.Index, TxQLen: -1}}))
}

// checkMoved looks for the link by every command from both namespaces.
func checkMoved(t *testing.T, old, there *weft) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		if got := there.names(); !slices.Equal(got, []string{"vxlan0"}) {
			return fmt.Errorf("links where the device is: %v", got)
		}
		return nil
	}))
	if out := there.must("link", "show", "vxlan0"); !strings.Contains(out, ": vxlan0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 ") || !strings.Contains(out, "id 5") {
		t.Errorf("link show where the device is: %q", out)
	}
	if s := there.stats("vxlan0"); s.RxPackets == 0 || s.TxPackets == 0 {
		t.Errorf("stats where the device is: %+v", s)
	}
	if got := old.names(); len(got) != 0 {
		t.Errorf("links where it was made: %v", got)
	}
	for _, words := range [][]string{{"link", "show", "vxlan0"}, {"stats", "vxlan0"}, {"link", "del", "vxlan0"}} {
		if out := old.run(words...); out.Status != 1 || out.Stdout != "" && out.Stdout != "[]\n" {
			t.Errorf("weft %v where it was made: status %d, %q", words, out.Status, out.Stdout)
		}
	}
}

// TestMoveBackAndAgain moves the device more than once, by two links of one
// daemon that go different ways.
func TestMoveBackAndAgain(t *testing.T) {
	t.Parallel()
	a, b := connect(t, pairing{user, kernel}, underlay4, nil)
	pod := lab.TestHost(t, "pod")
	a.weft.must(addWords("other", 6)...)
	there := a.weft.in(pod)
	for range 3 {
		check(t, a.Move("vxlan0", pod))
		check(t, lab.Eventually(waitLimit, func() error { return holds(there, "vxlan0") }))
		check(t, holds(a.weft, "other"))
		check(t, pod.Move("vxlan0", a.Host))
		check(t, lab.Eventually(waitLimit, func() error { return holds(a.weft, "vxlan0", "other") }))
		check(t, holds(there))
	}
	check(t, a.SetUp("vxlan0"))
	check(t, a.AddAddr("vxlan0", innerA[0]))
	check(t, a.Ping(b.addr, lab.PingOptions{}).Lost())
}

// holds returns an error unless just these links are in a namespace.
func holds(w *weft, names ...string) error {
	got := w.names()
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		return fmt.Errorf("%s has the links %v, want %v", w.host.Name, got, names)
	}
	return nil
}

// TestNamespacePinned takes away everything that holds a namespace but its
// daemon: the wire that ends there stays up and the link carries, until the
// link is deleted and the namespace goes with its end of the wire.
func TestNamespacePinned(t *testing.T) {
	lab.NeedTUN(t)
	a := lab.TestHost(t, "a")
	w := newWeft(t, a)
	inside := newBareNamespace(t, a, w)
	addVTEP(t, a, user, spec{VXLAN: lab.VXLAN{Name: "vxlan0", ID: 5, Port: 4789, Remote: underlay4.b, Dev: "eth0"}, Addrs: innerA})
	check(t, a.Ping(innerB[0].Addr(), lab.PingOptions{Count: 3}).Lost())
	check(t, inside.del())
	check(t, lab.Eventually(waitLimit, func() error {
		if names := deviceNames(t, a); slices.Contains(names, "eth0") {
			return fmt.Errorf("the other end of the wire is still there: %v", names)
		}
		return nil
	}))
}

// bareNamespace is a network namespace that no descriptor of this process
// holds, with a daemon of weft's in it.
type bareNamespace struct {
	w *weft // for its run directory
}

// newBareNamespace makes it, joins it to a host by a wire, and lets go of it
// once a link serves it.
func newBareNamespace(t *testing.T, a *lab.Host, w *weft) *bareNamespace {
	t.Helper()
	n := &bareNamespace{w}
	check(t, away(func() error { return n.fill(a) }))
	return n
}

// away runs f on a thread that f may take to another namespace. The thread
// comes back: should it be the program's first, it will not end with its
// goroutine, and would hold the namespace for good.
func away(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err == nil {
			err = errors.Join(f(), netns.Set(home), home.Close())
		}
		done <- err
	}()
	return <-done
}

func (n *bareNamespace) fill(a *lab.Host) error {
	ns, err := netns.New()
	if err != nil {
		return err
	}
	defer ns.Close()
	wire := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0", TxQLen: -1}, PeerName: "eth0", PeerNamespace: netlink.NsFd(a.NetNS())}
	if err := netlink.LinkAdd(wire); err != nil {
		return err
	}
	if err := addressHere("eth0", lab.PairB4); err != nil {
		return err
	}
	line := []string{"link", "add", "vxlan0", "type", "vxlan", "id", "5", "remote", underlay4.a.String(), "dev", "eth0", "dstport", "4789"}
	if err := n.runHere(line...); err != nil {
		return err
	}
	if err := addressHere("vxlan0", innerB[0]); err != nil {
		return err
	}
	if err := a.SetUp("eth0"); err != nil {
		return err
	}
	return a.AddAddr("eth0", lab.PairA4)
}

// addressHere gives a device of the thread's namespace its address and brings
// it up.
func addressHere(dev string, p netip.Prefix) error {
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// runHere runs weft in the thread's namespace.
func (n *bareNamespace) runHere(words ...string) error {
	if out, err := n.w.command(words...).CombinedOutput(); err != nil {
		return fmt.Errorf("weft %v: %w: %s", words, err, out)
	}
	return nil
}

// del deletes the link from within the namespace, to which its daemon is the
// only way.
func (n *bareNamespace) del() error { return away(n.delHere) }

func (n *bareNamespace) delHere() error {
	locks, _ := filepath.Glob(filepath.Join(n.w.dir, "*.lock"))
	if len(locks) != 1 {
		return fmt.Errorf("locks of daemons: %v", locks)
	}
	pid, err := readPid(locks[0])
	if err != nil {
		return err
	}
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return err
	}
	return n.runHere("link", "del", "vxlan0")
}
