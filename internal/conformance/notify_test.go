package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// What fdb_notify.sh asks of vxlan devices, that each change is told once, and
// of every change there is, not of add and del alone.

// notified is a link, its monitor, and what that has to have printed so far.
type notified struct {
	*alone
	monitor *monitor
	want    []string
}

func newNotified(t *testing.T, k kind, v6 bool, adjust func(*spec)) *notified {
	t.Helper()
	a := newAlone(t, k, v6, adjust)
	return &notified{alone: a, monitor: newMonitor(t, a.link)}
}

// tells runs a command, if there is one, and wants these lines to follow. What
// is printed twice is found at the latest by the next call.
func (n *notified) tells(t *testing.T, command string, lines ...string) {
	t.Helper()
	if command != "" {
		n.fdb(t, strings.Fields(command)...)
	}
	n.want = append(n.want, lines...)
	check(t, lab.Eventually(agedLimit, func() error {
		if got := n.monitor.seen(t); !slices.Equal(got, n.want) {
			return fmt.Errorf("after %q the monitor has told\n%q, want\n%q", command, got, n.want)
		}
		return nil
	}))
}

// line is the entry of a MAC address, as a monitor prints it.
func (n *notified) line(mac, dst, rest string) string {
	return fmt.Sprintf("%s dev %s dst %s self %s", mac, n.dev, dst, rest)
}

const deleted = "Deleted "

const (
	macA     = "00:11:22:33:44:55"
	macB     = "00:11:22:33:44:66"
	macC     = "00:11:22:33:44:77"
	macGroup = "01:11:22:33:44:55"
)

// test_dup_vxlan_self: one line for an add, one for a del, also where the link
// is a port of a bridge.
func TestFDBNotifyDupVXLANSelf(t *testing.T) {
	t.Parallel()
	lab.NeedBridge(t)
	each(t, func(t *testing.T, k kind) {
		n := newNotified(t, k, false, nil)
		check(t, n.AddBridge("br"))
		check(t, n.SetMaster("br", n.dev))
		n.tells(t, "add "+macA+" self dst "+dst1, n.line(macA, dst1, "permanent"))
		n.tells(t, "del "+macA+" self dst "+dst1, deleted+n.line(macA, dst1, "permanent"))
		n.tells(t, "")
		n.wantOnly(t, 2)
	})
}

// wantOnly wants n lines in the end, those about a master included.
func (n *notified) wantOnly(t *testing.T, lines int) {
	t.Helper()
	if got := n.monitor.lines(t); len(got) != lines {
		t.Errorf("the monitor has told %q, want %d lines", got, lines)
	}
}

// Changes by hand: each that changes something is told once, others never.
func TestFDBNotifyChanges(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		n := newNotified(t, k, v6, nil)
		one, two, three := n.other(t, 0), n.other(t, 1), n.other(t, 2)
		add, del := func(mac, dst, rest string) string { return n.line(mac, dst, rest) }, func(mac, dst, rest string) string { return deleted + n.line(mac, dst, rest) }

		n.tells(t, "add "+macA+" dst "+one, add(macA, one, "permanent"))
		if n.tryFDB(t, "add", macA, "dst", two) == nil {
			t.Error("an address was added twice")
		}
		n.tells(t, "append "+macA+" dst "+two) // of a single station's, which changes nothing
		n.tells(t, "append "+macA+" dst "+two+" static", add(macA, one, "static"))
		n.tells(t, "replace "+macA+" dst "+two+" static", add(macA, two, "static"))
		n.tells(t, "replace "+macA+" dst "+two+" static")
		n.tells(t, "replace "+macA+" dst "+two+" dynamic", add(macA, two, ""))
		n.tells(t, "del "+macA+" dst "+three) // is not there
		n.tells(t, "del "+macA+" dst "+two, del(macA, two, ""))
		n.tells(t, "replace "+macA+" dst "+one, add(macA, one, "permanent"))
		n.tells(t, "del "+macA, del(macA, one, "permanent"))

		n.tells(t, "append "+zeroMAC+" dst "+one, add(zeroMAC, one, "permanent"))
		n.tells(t, "append "+zeroMAC+" dst "+two, add(zeroMAC, two, "permanent"))
		n.tells(t, "append "+zeroMAC+" dst "+two)
		n.tells(t, "append "+macGroup+" dst "+one, add(macGroup, one, "permanent"))
		n.tells(t, "append "+macGroup+" dst "+three, add(macGroup, three, "permanent"))
		n.tells(t, "del "+zeroMAC+" dst "+one, del(zeroMAC, one, "permanent"))
		n.tells(t, "del "+macGroup, del(macGroup, one, "permanent"), del(macGroup, three, "permanent"))

		n.set(t, "remote", three)
		n.tells(t, "", add(zeroMAC, three, "permanent"))
		n.set(t, "remote", one)
		n.tells(t, "", add(zeroMAC, one, "permanent"), del(zeroMAC, three, "permanent"))
		n.tells(t, "flush dst "+two, del(zeroMAC, two, "permanent"))
		n.tells(t, "flush", del(zeroMAC, one, "permanent"))
		n.wantOnly(t, len(n.want))
	})
}

// What is learnt is told once, when a station moves and when it is forgotten
// too, and not for every frame.
func TestFDBNotifyLearning(t *testing.T) {
	eachFamily(t, func(t *testing.T, k kind, v6 bool) {
		n := newNotified(t, k, v6, nil)
		one, two := n.other(t, 0), n.other(t, 1)
		n.fdb(t, "add", macC, "dst", two, "static")
		n.tells(t, "", n.line(macC, two, "static"))
		for range 3 {
			n.deliverFrom(t, one, macA)
		}
		n.tells(t, "", n.line(macA, one, ""))
		for range 3 {
			n.deliverFrom(t, two, macA)
		}
		n.tells(t, "", n.line(macA, two, ""))
		n.deliverFrom(t, one, macC) // which is pinned elsewhere
		n.deliverFrom(t, one, macB)
		n.tells(t, "", n.line(macB, one, ""))
		n.tells(t, "flush dynamic dst "+one, deleted+n.line(macB, one, ""))
		n.deliverFrom(t, one, macB)
		n.tells(t, "", n.line(macB, one, ""))
		n.tells(t, "del "+macB, deleted+n.line(macB, one, ""))
		check(t, n.SetDown(n.dev))
		n.tells(t, "", deleted+n.line(macA, two, ""))
		n.wantOnly(t, len(n.want))
	})
}

// An entry that has aged out is told as stale, once.
func TestFDBNotifyAgeing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		n := newNotified(t, k, false, func(s *spec) { s.Ageing = 1 })
		one := n.other(t, 0)
		n.fdb(t, "add", macC, "dst", one, "static")
		n.tells(t, "", n.line(macC, one, "static"))
		n.deliverFrom(t, one, macA)
		n.tells(t, "", n.line(macA, one, ""))
		n.tells(t, "", deleted+n.line(macA, one, "stale"))
		n.wantOnly(t, len(n.want))
	})
}

// A deleted link takes its entries with it, and each of them is told.
func TestFDBNotifyLinkDeletion(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		remote := lab.PairB4.Addr()
		n := newNotified(t, k, false, func(s *spec) { s.Remote = remote })
		one, two := n.other(t, 0), n.other(t, 1)
		n.tells(t, "add "+macA+" dst "+one, n.line(macA, one, "permanent"))
		n.tells(t, "append "+macGroup+" dst "+one, n.line(macGroup, one, "permanent"))
		n.tells(t, "append "+macGroup+" dst "+two, n.line(macGroup, two, "permanent"))
		n.deliverFrom(t, one, macB)
		n.tells(t, "", n.line(macB, one, ""))
		n.delete(t)
		want := []string{
			deleted + n.line(zeroMAC, one, "permanent"), deleted + n.line(macA, one, "permanent"), deleted + n.line(macB, one, ""),
			deleted + n.line(macGroup, one, "permanent"), deleted + n.line(macGroup, two, "permanent"),
		}
		check(t, lab.Eventually(waitLimit, func() error {
			got := n.monitor.seen(t)[len(n.want):]
			if slices.Sort(got); !slices.Equal(got, want) {
				return fmt.Errorf("the monitor has told\n%q, want\n%q", got, want)
			}
			return nil
		}))
	})
}
