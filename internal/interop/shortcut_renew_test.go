package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// steadyEvery is how often a steady flow has a frame.
const steadyEvery = 2 * time.Millisecond

// steady sends one frame from a device again and again until the test is over.
func steady(t *testing.T, h *lab.Host, dev string, frame []byte) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-ended })
	go func() {
		defer close(ended)
		ticker := time.NewTicker(steadyEvery)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				_ = h.SendFrame(dev, frame) // it is refused where that is the test
			}
		}
	}()
}

// steadyOut has a frame of a size leave by the link again and again, and steadyIn
// another one come in.
func (a *alone) steadyOut(t *testing.T, size int) {
	t.Helper()
	steady(t, a.Host, a.link, a.ofFrame(steadyFrame(t, size, 1)))
}

func (a *alone) steadyIn(t *testing.T, size int) {
	t.Helper()
	steady(t, a.peer, "eth0", a.outerOf(t, a.around(a.ofFrame(steadyFrame(t, size, 2)))).frame)
}

func steadyFrame(t *testing.T, size, mark int) []byte {
	t.Helper()
	return inner{srcPort: 1000, dstPort: 2000, size: size, df: true}.frame(t, mark)
}

// TestShortcutRenewed has a flow each way go on for longer than leases are, and none
// of its frames be the process's; its FDB entries are as fresh as if they had been.
func TestShortcutRenewed(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, kind := range []string{"", "l3"} {
		for _, u := range underlays {
			t.Run("vxlan "+kind+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a := newAloneOf(t, kind, u, nil)
				if kind == "" {
					a.weft.must("fdb", "add", inMAC.String(), "dev", a.link, "dst", u.b.String())
				}
				a.steadyOut(t, 100)
				a.steadyIn(t, 100)
				before, begun := a.figures(t), time.Now()
				check(t, lab.Eventually(4*waitLimit, func() error {
					fresh := a.fresh(t, inMAC, markMAC(2)) // by none that the process has next
					now := a.figures(t).since(before)
					if past := shortBothWays(now); now.txPackets+now.rxPackets > past {
						before, begun = a.figures(t), time.Now() // a new window
						return fmt.Errorf("the process carried %d frames, the kernel %d", now.txPackets+now.rxPackets-past, past)
					}
					if took := time.Since(begun); took < 5*shortcutLease/2 || sentShort(now) < 200 || receivedShort(now) < 200 {
						return fmt.Errorf("%d frames went past the process in %v", shortBothWays(now), took)
					}
					return fresh
				}))
			})
		}
	}
}

// TestShortcutBareNotRenewed has a flow of bare packets go on each way for longer than
// leases are: the process has one of each again before twice as many went past it as
// come in a lease, and does so however slow everything else is here.
func TestShortcutBareNotRenewed(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a := newRoutedAlone(t, "udp", u, nil)
			a.steadyOut(t, 100)
			a.steadyIn(t, 100)
			a.steadilyCarried(t)
			ways := []*passing{{past: sentShort, all: func(f figures) uint64 { return f.txPackets }}, {past: receivedShort, all: func(f figures) uint64 { return f.rxPackets }}}
			check(t, lab.Eventually(2*waitLimit, func() error {
				a.greet(t)
				now := a.figures(t)
				return errors.Join(ways[0].look(t, now), ways[1].look(t, now))
			}))
		})
	}
}

// passing is what goes past the process one way, and how often it comes by in between.
type passing struct {
	past, all func(f figures) uint64
	before    figures // when it last came by
	times     int     // that it did, after some had gone past
}

// look wants no more frames to have gone past the process in a row than come in two
// leases, since figures are not all of the same moment, and some to have come by in
// between, a few times.
func (p *passing) look(t *testing.T, now figures) error {
	t.Helper()
	const most = uint64(2 * shortcutLease / steadyEvery)
	n := p.past(now) - p.past(p.before)
	switch {
	case p.all(now)-p.past(now) != p.all(p.before)-p.past(p.before):
		if p.before = now; n > most/20 {
			p.times++
		}
	case n > most:
		t.Fatalf("%d packets went past the process, and none through it", n)
	}
	if p.times < 4 {
		return fmt.Errorf("%d times, and %d past the process since", p.times, n)
	}
	return nil
}

// steadilyCarried waits until all of a tenth of a second goes past the process, however
// few frames a sender gets out in that on a busy machine.
func (a *alone) steadilyCarried(t *testing.T) {
	t.Helper()
	before, begun := a.figures(t), time.Now()
	check(t, lab.Eventually(waitLimit, func() error {
		a.greet(t)
		now := a.figures(t)
		sum := now.since(before)
		past, all := shortBothWays(sum), sum.txPackets+sum.rxPackets
		switch took := time.Since(begun); {
		case past < all:
			before, begun = now, time.Now()
			return fmt.Errorf("%d of %d frames went past the process", past, all)
		case took < 50*steadyEvery || past < 20:
			return fmt.Errorf("only %d frames went past the process in %v", past, took)
		}
		return nil
	}))
}

// fresh returns an error unless the first MAC's entry has been used, and the other
// one's updated, in the last two seconds, in whole ones.
func (a *alone) fresh(t *testing.T, used, updated net.HardwareAddr) error {
	t.Helper()
	if a.routed != "" {
		return nil // there is no FDB
	}
	var entries []struct {
		MAC           string
		Used, Updated uint32
	}
	check(t, json.Unmarshal([]byte(a.weft.must("fdb", "show", "dev", a.link, "-s", "-j")), &entries))
	found := 0
	for _, e := range entries {
		switch e.MAC {
		case used.String():
			if found++; e.Used > 1 {
				return fmt.Errorf("%v was used %d seconds ago", used, e.Used)
			}
		case updated.String():
			if found++; e.Updated > 1 {
				return fmt.Errorf("%v was updated %d seconds ago", updated, e.Updated)
			}
		}
	}
	if found != 2 {
		return fmt.Errorf("%d of the entries are there", found)
	}
	return nil
}

// notRenewed are changes after which the kernel carries nothing more. What is looked
// at when leases are renewed is not where they are not.
var notRenewed = []struct {
	name    string
	kinds   []string
	steady  func(a *alone, t *testing.T, size int)
	carried func(figures) uint64
	change  func(t *testing.T, a *alone)
	within  time.Duration // renewals end after four to six seconds by themselves
}{
	{"route", []string{"", "l3"}, (*alone).steadyOut, sentShort, func(t *testing.T, a *alone) {
		check(t, a.Netlink().RouteAdd(&netlink.Route{Dst: hostNet(a.b), Type: 7, Priority: 1})) // RTN_UNREACHABLE
	}, 7 * shortcutLease / 2},
	{"path MTU", []string{"", "l3"}, (*alone).steadyOut, sentShort, func(t *testing.T, a *alone) {
		d, err := a.Device("eth0")
		check(t, err)
		check(t, a.Netlink().RouteAdd(&netlink.Route{Dst: hostNet(a.b), LinkIndex: d.Index, MTU: 1300, MTULock: true}))
	}, 7 * shortcutLease / 2},
	{"output firewall", linkKinds, (*alone).steadyOut, sentShort, dropsAt(nftables.ChainHookOutput), waitLimit},
	{"input firewall", linkKinds, (*alone).steadyIn, receivedShort, dropsAt(nftables.ChainHookInput), waitLimit},
}

// TestShortcutNotRenewed changes what is looked at when leases are renewed, and what
// is not and so ends when they are renewed no more: the kernel carries nothing from
// then on.
func TestShortcutNotRenewed(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, c := range notRenewed {
		for _, kind := range c.kinds {
			for _, u := range underlays {
				t.Run(c.name+"/"+kind+"/"+u.name, func(t *testing.T) {
					t.Parallel()
					// With a device given, IPv4 sends where there is no route, as to a neighbour.
					a := newAloneOf(t, kind, u, func(s *spec) { s.DF, s.Dev = lab.DFSet, "" })
					c.steady(a, t, 1300)
					a.steadilyCarried(t)
					c.change(t, a)
					a.checkQuiet(t, c.carried, c.within)
				})
			}
		}
	}
}

// checkQuiet waits until the kernel has carried nothing for some leases, and wants
// that to have begun in time.
func (a *alone) checkQuiet(t *testing.T, carried func(figures) uint64, within time.Duration) {
	t.Helper()
	changed := time.Now()
	last, before := changed, carried(a.figures(t))
	check(t, lab.Eventually(2*waitLimit, func() error {
		a.greet(t)
		looked := time.Now()
		if now := carried(a.figures(t)); now != before {
			last, before = looked, now
		}
		if quiet := looked.Sub(last); quiet < 2*shortcutLease {
			return fmt.Errorf("frames are carried %v after the change", last.Sub(changed))
		}
		return nil
	}))
	if took := last.Sub(changed); took > within {
		t.Errorf("frames were carried until %v after the change", took)
	}
}

// TestShortcutRefused has a firewall refuse a frame to a remote that a stream goes to
// past the process: from the moment that this counts, the stream does not either.
func TestShortcutRefused(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, kind := range linkKinds {
		for _, u := range underlays {
			t.Run(kind+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a := newAloneOf(t, kind, u, nil)
				s := startEndless(t, a.Host, a.link, a.ofFrame(numberFlow(t, false)), nil)
				a.carriedByKernel(t, sentShort)
				dropsAt(nftables.ChainHookOutput)(t, a)
				before := a.figures(t)
				a.send(t, a.ofFrame(inner{srcPort: 1, dstPort: 1, size: 8}.frame(t, 1))) // no program knows it
				check(t, lab.Eventually(waitLimit, func() error {
					if a.figures(t).weft.Drops["send_error"] == before.weft.Drops["send_error"] {
						return errors.New("nothing was refused")
					}
					return nil
				}))
				first, more := s.after(t)
				check(t, lab.Eventually(waitLimit, more))
				check(t, s.end())
				a.passFirewall(t)
				if n := len(a.numbersSent(s, first)); n > 0 {
					t.Errorf("%d frames from %d on are on the wire", n, first)
				}
			})
		}
	}
}

// passFirewall sends a frame by the underlay device, where no firewall sees it, and
// waits until it comes out of the wire: what was sent before has done so too.
func (a *alone) passFirewall(t *testing.T) {
	t.Helper()
	frame := ether(1, typeLocal, []byte("underlay"))
	check(t, a.SendFrame("eth0", frame))
	_, err := a.wire.Wait(waitLimit, func(f lab.Frame) bool { return !f.Outgoing && string(f.Data) == string(frame) })
	check(t, err)
}

func hostNet(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// dropsAt has a chain of netfilter's drop all packets of the underlay.
func dropsAt(hook *nftables.ChainHook) func(t *testing.T, a *alone) {
	return func(t *testing.T, a *alone) {
		t.Helper()
		check(t, a.Do(func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			policy, family := nftables.ChainPolicyDrop, nftables.TableFamilyIPv4
			if a.a.Is6() {
				family = nftables.TableFamilyIPv6
			}
			c.AddChain(&nftables.Chain{
				Name: "all", Table: c.AddTable(&nftables.Table{Name: "test", Family: family}), Type: nftables.ChainTypeFilter,
				Hooknum: hook, Priority: nftables.ChainPriorityFilter, Policy: &policy,
			})
			return c.Flush()
		}))
	}
}
