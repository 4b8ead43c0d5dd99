package interop

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
	"github.com/weftnet/weft/internal/lab/dissect"
)

// otherNamespace is what a link shows of both shortcuts while its device is away.
const otherNamespace = "off (the device is in another namespace than the underlay)"

// TestShortcutMoved moves the device away while the kernel carries its flows,
// and back. There the process carries them: nothing leaves by a device of the
// other namespace, although one has the number of the underlay's and a neighbour
// with the remote's address. Nothing comes in by a device that has the number
// which the link's device had, and which it does not get back the second time.
func TestShortcutMoved(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a := newAlone(t, user, u, eachAlone)
			pod, decoy := lab.TestHost(t, "pod"), lab.TestHost(t, "decoy")
			lures := a.lure(t, pod, decoy)
			there := &alone{vtep: &vtep{Host: pod, kind: user, weft: a.weft.in(pod), link: a.link}, underlay: u, peer: a.peer, wire: a.wire, port: a.port}
			for round := range 2 {
				d, err := a.Device(a.link)
				check(t, err)
				if round > 0 {
					addNumbered(t, pod, "taken", d.Index)
				}
				out, in := a.bothWays(t, a)
				a.carriedByKernel(t, shortBothWays)
				a.unaware(t, func() {
					check(t, a.Move(a.link, pod))
					check(t, pod.SetUp(a.link))
					check(t, pod.SendFrame(a.link, slices.Repeat([][]byte{out.flow}, streamBurst)...))
				})
				if err := <-out.done; err == nil {
					t.Error("nobody refused a frame of a device that is not there")
				}
				close(out.stop)
				check(t, in.end())
				addNumbered(t, a.Host, "former", d.Index)
				former := lab.TestCapture(t, a.Host, "former")
				there.checkAway(t, a)
				if round == 0 {
					check(t, a.Delete("former"))
				}
				check(t, pod.Move(a.link, a.Host))
				check(t, a.SetUp(a.link))
				a.checkBack(t, round > 0, d.Index)
				lures = append(lures, former)
			}
			for _, lure := range lures {
				for _, f := range lure.Stop() {
					if _, one := numberOf(numberFlow(t, true), f.Data); one || len(dissect.VXLANs([]lab.Frame{f}, a.port)) > 0 {
						t.Fatalf("% x at a device that has nothing to do with it", f.Data)
					}
				}
			}
		})
	}
}

// unaware does something that weft learns of only afterwards.
func (a *alone) unaware(t *testing.T, do func()) {
	t.Helper()
	pid := a.weft.pid(t)
	check(t, unix.Kill(pid, unix.SIGSTOP))
	defer func() { check(t, unix.Kill(pid, unix.SIGCONT)) }()
	do()
}

// bothWays starts a stream each way, the datagrams for the link's home.
func (a *alone) bothWays(t *testing.T, home *alone) (out, in *endless) {
	t.Helper()
	out = startEndless(t, a.Host, a.link, numberFlow(t, false), nil)
	p := home.outerOf(t, vxlan(5, numberFlow(t, true)))
	in = startEndless(t, a.peer, "eth0", numberFlow(t, true), p.with)
	return out, in
}

// shortBothWays is the frames of both directions, as far as neither lacks.
func shortBothWays(f figures) uint64 { return sentShort(f) + receivedShort(f) }

// addNumbered makes a device with a number.
func addNumbered(t *testing.T, h *lab.Host, name string, index int) {
	t.Helper()
	check(t, h.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index, TxQLen: -1}}))
	check(t, h.SetUp(name))
}

// lure gives the pod a wire whose device has the number of the underlay's, and
// over which the peer's address seems to be.
func (a *alone) lure(t *testing.T, pod, decoy *lab.Host) []*lab.Capture {
	t.Helper()
	of, err := a.Device("eth0")
	check(t, err)
	check(t, pod.Netlink().LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth0", Index: of.Index, TxQLen: -1},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(decoy.NetNS()),
	}))
	check(t, errors.Join(pod.SetUp("eth0"), decoy.SetUp("eth0")))
	d, err := decoy.Device("eth0")
	check(t, err)
	check(t, errors.Join(pod.AddAddr("eth0", a.elsewhere()), pod.AddNeighbour("eth0", a.b, d.MAC)))
	return []*lab.Capture{lab.TestCapture(t, pod, "eth0"), lab.TestCapture(t, decoy, "eth0")}
}

// checkBack wants both streams to be the kernel's again, where the device was
// made, with another number or the same.
func (a *alone) checkBack(t *testing.T, renumbered bool, before int) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error { return holds(a.weft, a.link) }))
	if o := a.weft.links()[0].Offload; o["shortcut_tx"] != "on" || o["shortcut_rx"] != "on" {
		t.Errorf("link show says %v", o)
	}
	if d, err := a.Device(a.link); err != nil || (d.Index != before) != renumbered {
		t.Fatalf("the device has number %d, had %d: this lab does not show what it should: %v", d.Index, before, err)
	}
	a.inside = lab.TestCapture(t, a.Host, a.link)
	out, in := a.bothWays(t, a)
	a.carriedByKernel(t, shortBothWays)
	first, more := in.after(t)
	check(t, lab.Eventually(waitLimit, more))
	check(t, errors.Join(out.end(), in.end()))
	a.checkReceived(t, in, first, receiveChange{})
}

// checkAway has a stream each way go through the process alone, with the device
// where it now is.
func (a *alone) checkAway(t *testing.T, home *alone) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error { return holds(a.weft, a.link) }))
	o := a.weft.links()[0].Offload
	if o["shortcut_tx"] != otherNamespace || o["shortcut_rx"] != otherNamespace {
		t.Errorf("link show says %v", o)
	}
	a.inside = lab.TestCapture(t, a.Host, a.link)
	before, seen := a.figures(t), len(a.wire.Frames())
	out, in := a.bothWays(t, home)
	_, more := out.after(t)
	check(t, lab.Eventually(waitLimit, more))
	_, more = in.after(t)
	check(t, lab.Eventually(waitLimit, more))
	check(t, errors.Join(out.end(), in.end()))
	a.delivered(t, numberedFrame(in.flow, in.last.Load()))
	check(t, lab.Eventually(waitLimit, func() error {
		sent := map[uint32]bool{}
		for _, e := range dissect.VXLANs(a.wire.Frames()[seen:], a.port) {
			if n, ok := numberOf(out.flow, e.Inner.Data()); ok && a.way(e) == usual(a.b) {
				sent[n] = true
			}
		}
		if len(sent) < int(out.last.Load()) {
			return fmt.Errorf("%d of %d frames are on the wire; what was dropped: %v", len(sent), out.last.Load(), a.figures(t).weft.Drops)
		}
		return nil
	}))
	if now := a.figures(t); shortBothWays(now) != shortBothWays(before) {
		t.Errorf("%d frames went past the process", shortBothWays(now)-shortBothWays(before))
	}
}

// TestShortcutNothingLeft has both programs carry something, then deletes the
// links one by one: with the last one go private devices and programs.
func TestShortcutNothingLeft(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for name, del := range map[string]func(v *vtep, link string){
		"weft": func(v *vtep, link string) { v.weft.must("link", "del", link) },
		"ip":   func(v *vtep, link string) { check(v.weft.t, v.Delete(link)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := connect(t, pairing{user, user}, underlay4, nil)
			ends := []*vtep{a, b}
			for _, v := range ends {
				v.addLink(t, spec{VXLAN: lab.VXLAN{Name: "other", ID: 6, Port: 4790, Dev: "eth0", Local: v.underlay(a)}})
			}
			check(t, lab.Eventually(waitLimit, func() error {
				transfer(t, a, b, innerB[0], mib)
				transfer(t, b, a, innerA[0], mib)
				return errors.Join(a.hasShortcuts(true), b.hasShortcuts(true))
			}))
			for _, v := range ends {
				del(v, "other")
				check(t, v.hasShortcuts(true))
				del(v, "vxlan0")
				check(t, lab.Eventually(waitLimit, func() error { return v.hasShortcuts(false) }))
			}
		})
	}
}

// underlay is the address of one of two ends on the wire.
func (v *vtep) underlay(a *vtep) netip.Addr {
	if v == a {
		return underlay4.a
	}
	return underlay4.b
}

// hasShortcuts returns an error unless everything that they are made of is
// there, or nothing is.
func (v *vtep) hasShortcuts(want bool) error {
	var private []string
	programs := map[string]int{}
	err := v.Do(func() error {
		devices, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, d := range devices {
			if name := d.Attrs().Name; strings.HasPrefix(name, "weft-") {
				private = append(private, name)
			} else if err := countPrograms(programs, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	all := slices.Contains(private, "weft-rx0a") && slices.Contains(private, "weft-rx0b") && programs["eth0 ingress"] == 1 && programs["vxlan0 egress"] == 1
	if want && !all || !want && len(private)+len(programs) > 0 {
		return fmt.Errorf("%s has the devices %v and programs %v", v.Name, private, programs)
	}
	return nil
}

// countPrograms counts those of a device by where they are. It is called on a
// thread in the device's namespace.
func countPrograms(programs map[string]int, d netlink.Link) error {
	for where, at := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
		r, err := link.QueryPrograms(link.QueryOptions{Target: d.Attrs().Index, Attach: at})
		if err != nil {
			return err
		}
		if n := len(r.Programs); n > 0 {
			programs[d.Attrs().Name+" "+where] = n
		}
	}
	return nil
}
