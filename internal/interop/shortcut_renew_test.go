package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// steady sends one frame from a device every two milliseconds until the test is
// over.
func steady(t *testing.T, h *lab.Host, dev string, frame []byte) {
	t.Helper()
	stop, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-ended })
	go func() {
		defer close(ended)
		ticker := time.NewTicker(2 * time.Millisecond)
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

// steadyOut has a frame of a size leave by the link every two milliseconds, and
// steadyIn another one come in.
func (a *alone) steadyOut(t *testing.T, size int) {
	t.Helper()
	steady(t, a.Host, a.link, steadyFrame(t, size, 1))
}

func (a *alone) steadyIn(t *testing.T, size int) {
	t.Helper()
	steady(t, a.peer, "eth0", a.outerOf(t, vxlan(5, steadyFrame(t, size, 2))).frame)
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
	for _, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a := newAlone(t, user, u, nil)
			a.weft.must("fdb", "add", inMAC.String(), "dev", a.link, "dst", u.b.String())
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

// steadilyCarried waits until all of a tenth of a second goes past the process.
func (a *alone) steadilyCarried(t *testing.T) {
	t.Helper()
	before := a.figures(t)
	check(t, lab.Eventually(waitLimit, func() error {
		now := a.figures(t)
		switch sum := now.since(before); {
		case shortBothWays(sum) < sum.txPackets+sum.rxPackets:
			before = now
			return fmt.Errorf("%d of %d frames went past the process", shortBothWays(sum), sum.txPackets+sum.rxPackets)
		case shortBothWays(sum) < 50:
			return fmt.Errorf("only %d frames went past the process", shortBothWays(sum))
		}
		return nil
	}))
}

// fresh returns an error unless the first MAC's entry has been used, and the other
// one's updated, in the last two seconds, in whole ones.
func (a *alone) fresh(t *testing.T, used, updated net.HardwareAddr) error {
	t.Helper()
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

// TestShortcutNotRenewed changes what is looked at when leases are renewed, and what
// is not and so ends when they are renewed no more: the kernel carries nothing from
// then on.
func TestShortcutNotRenewed(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, c := range []struct {
		name    string
		steady  func(a *alone, t *testing.T, size int)
		carried func(figures) uint64
		change  func(t *testing.T, a *alone)
		within  time.Duration // renewals end after four to six seconds by themselves
	}{
		{"route", (*alone).steadyOut, sentShort, func(t *testing.T, a *alone) {
			check(t, a.Netlink().RouteAdd(&netlink.Route{Dst: hostNet(a.b), Type: 7, Priority: 1})) // RTN_UNREACHABLE
		}, 7 * shortcutLease / 2},
		{"path MTU", (*alone).steadyOut, sentShort, func(t *testing.T, a *alone) {
			d, err := a.Device("eth0")
			check(t, err)
			check(t, a.Netlink().RouteAdd(&netlink.Route{Dst: hostNet(a.b), LinkIndex: d.Index, MTU: 1300, MTULock: true}))
		}, 7 * shortcutLease / 2},
		{"output firewall", (*alone).steadyOut, sentShort, dropsAt(nftables.ChainHookOutput), waitLimit},
		{"input firewall", (*alone).steadyIn, receivedShort, dropsAt(nftables.ChainHookInput), waitLimit},
	} {
		for _, u := range underlays {
			t.Run(c.name+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				// With a device given, IPv4 sends where there is no route, as to a neighbour.
				a := newAlone(t, user, u, func(_ *lab.Host, s *spec) { s.DF, s.Dev = lab.DFSet, "" })
				c.steady(a, t, 1300)
				a.steadilyCarried(t)
				c.change(t, a)
				changed := time.Now()
				last, before := changed, c.carried(a.figures(t))
				check(t, lab.Eventually(2*waitLimit, func() error {
					looked := time.Now()
					if now := c.carried(a.figures(t)); now != before {
						last, before = looked, now
					}
					if quiet := looked.Sub(last); quiet < 2*shortcutLease {
						return fmt.Errorf("frames are carried %v after the change", last.Sub(changed))
					}
					return nil
				}))
				if took := last.Sub(changed); took > c.within {
					t.Errorf("frames were carried until %v after the change", took)
				}
			})
		}
	}
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
