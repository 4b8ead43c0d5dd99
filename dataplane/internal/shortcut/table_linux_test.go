//go:build !portable

package shortcut

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// in runs a test in a host of its own.
func in(t *testing.T, f func(h *lab.Host) error) {
	t.Helper()
	lab.NeedShortcuts(t)
	h := lab.TestHost(t, "a")
	check(t, h.Do(func() error { return f(h) }))
}

// devices are the names of the host's that begin with weft.
func devices(h *lab.Host) (names []string) {
	links, _ := h.Netlink().LinkList()
	for _, l := range links {
		if name := l.Attrs().Name; strings.HasPrefix(name, "weft") {
			names = append(names, name)
		}
	}
	return names
}

// untold is for tests to which it does not matter what is done without.
func untold(Lack) {}

// received is how many programs are on what the underlay device receives.
func received(t *testing.T) int {
	t.Helper()
	found, err := link.QueryPrograms(link.QueryOptions{Target: underIndex, Attach: ebpf.AttachTCXIngress})
	check(t, err)
	return len(found.Programs)
}

// addDummy makes an underlay device with an index.
func addDummy(h *lab.Host, index int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = "under0", index
	return h.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "under1"})
}

const underIndex = 1000

// checkWithout waits until a table says that it does without this.
func checkWithout(t *testing.T, tab *Table, tx, rx string) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		if gotTx, gotRx := tab.Without(); gotTx != tx || gotRx != rx {
			return fmt.Errorf("without %q to send and %q to receive, want %q and %q", gotTx, gotRx, tx, rx)
		}
		return nil
	}))
}

// A table takes all away that it brought, whatever is told it afterwards.
func TestClose(t *testing.T) {
	in(t, func(h *lab.Host) error {
		check(t, addDummy(h, underIndex))
		tab, err := Open(untold)
		check(t, err)
		got := devices(h)
		if slices.Sort(got); fmt.Sprint(got) != "[weft-rx0a weft-rx0b weft-rx0c weft-rx0d]" {
			t.Errorf("devices %v", got)
		}
		checkWithout(t, tab, "", "")
		check(t, tab.ReceiveBy(underIndex))
		if received(t) != 1 {
			t.Error("no program is attached")
		}
		s := tab.Slot()
		tab.Free(s)
		tab.Close()
		// An ageing goroutine may count a change when all else has gone.
		s.Changes().Add(1)
		s.Drained(1)
		check(t, tab.ReceiveBy(underIndex)) // as one may that had begun before
		if got := devices(h); len(got) > 0 || received(t) > 0 {
			t.Errorf("left: devices %v, %d programs", got, received(t))
		}
		return nil
	})
}

// Another device with the index of one that is gone gets the program too. Stations are told
// of from then on, and those of the former one are not known any more: what of them came
// meanwhile nobody has noted.
func TestDeviceComesAgain(t *testing.T) {
	in(t, func(h *lab.Host) error {
		tab, err := Open(untold)
		check(t, err)
		defer tab.Close()
		if err := tab.ReceiveBy(underIndex); err == nil {
			t.Error("no error without a device")
		}
		if err := tab.ReceiveBy(underIndex); err != nil {
			t.Errorf("the same error again: %v", err)
		}
		link, queue := tab.Slot(), tab.Slot()
		defer tab.Free(link)
		defer tab.Free(queue)
		station := &Receive{From: netip.MustParseAddr("192.0.2.1"), To: netip.MustParseAddr("192.0.2.2"), Under: underIndex, Link: link, Queue: queue}
		if _, ok := tab.Receive(station); ok {
			t.Error("a station is told of before there is a program")
		}
		for range 2 {
			check(t, addDummy(h, underIndex))
			for range 2 {
				check(t, tab.ReceiveBy(underIndex))
			}
			key, value := station.key(), [receiveValueLen]byte{}
			if tab.receives.Lookup(&key, &value) == nil {
				t.Error("the station of the former device is known")
			}
			if _, ok := tab.Receive(station); !ok || tab.receives.Lookup(&key, &value) != nil {
				t.Error("a station is not told of")
			}
			if n := received(t); n != 1 {
				t.Errorf("%d programs", n)
			}
			check(t, h.Delete("under0"))
		}
		return nil
	})
}

// What a killed process leaves is deleted by the next, what a running one has is
// not.
func TestKilled(t *testing.T) {
	in(t, func(h *lab.Host) error {
		killed, err := Open(untold)
		check(t, err)
		running, err := Open(untold)
		check(t, err)
		defer running.Close()
		// The kernel closes descriptors and leaves devices, but for what is in a
		// namespace that nobody holds.
		killed.privates.close()
		check(t, killed.joiner.joined.link.Close())
		check(t, killed.scrubber.link.Close())
		check(t, killed.joiner.joined.program.Close())
		killed.scrubber.inside.Close()
		check(t, killed.scrubber.namespace.Close())
		before := running.joiner.in
		next, err := Open(untold)
		check(t, err)
		defer next.Close()
		if next.joiner.name != "weft-rx0" || running.joiner.name != "weft-rx1" {
			t.Errorf("pairs %s and %s", next.joiner.name, running.joiner.name)
		}
		if _, err := h.Netlink().LinkByIndex(before); err != nil {
			t.Errorf("the running one's: %v", err)
		}
		if got := devices(h); len(got) != 8 {
			t.Errorf("devices %v", got)
		}
		return nil
	})
}

// Where the device that cuts is not to be had, the rest is there all the same.
func TestUncut(t *testing.T) {
	in(t, func(h *lab.Host) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "weft-rx0c"
		check(t, h.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "other"}))
		const why = "a device to cut super-frames: file exists"
		var told []Lack
		tab, err := Open(func(l Lack) { told = append(told, l) })
		check(t, err)
		defer tab.Close()
		if want := []Lack{{Device: "weft-rx0c", Why: why, Slower: withoutCutter}}; !slices.Equal(told, want) || tab.cutter.in != 0 || tab.joiner.in == 0 {
			t.Errorf("%+v, %+v", told, tab.cutter)
		}
		checkWithout(t, tab, "weft-rx0c: "+why, "weft-rx0c: "+why)
		return nil
	})
}

// So it is where the device that scrubs is not to be had.
func TestUnscrubbed(t *testing.T) {
	in(t, func(h *lab.Host) error {
		check(t, h.Rename("lo", "weft-rx0d")) // which nobody can delete
		tab, err := Open(untold)
		check(t, err)
		defer tab.Close()
		if why := tab.scrubber.refused; !strings.HasPrefix(why, "a device to scrub super-frames: ") || tab.scrubber.in != 0 || tab.scrubber.netlink != nil || tab.cutter.in == 0 {
			t.Errorf("%+v", tab.scrubber)
		}
		checkWithout(t, tab, "", "weft-rx0d: "+tab.scrubber.refused)
		return nil
	})
}

// No thread stays in the private namespace: what asks for the process's finds the
// right one, and the private one goes with the table.
func TestScrubberThreads(t *testing.T) {
	in(t, func(*lab.Host) error {
		tab, err := Open(untold)
		check(t, err)
		defer tab.Close()
		var private unix.Stat_t
		check(t, unix.Fstat(int(tab.scrubber.namespace), &private))
		tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
		check(t, err)
		for _, task := range tasks {
			var there unix.Stat_t
			if unix.Stat(task, &there) == nil && there.Ino == private.Ino {
				t.Errorf("%s is the private one", task)
			}
		}
		return nil
	})
}

// Slots run out and come again, and none is given twice.
func TestSlots(t *testing.T) {
	in(t, func(*lab.Host) error {
		tab, err := Open(untold)
		check(t, err)
		defer tab.Close()
		var all []*Slot
		seen := map[int]bool{}
		for s := tab.Slot(); s != nil; s = tab.Slot() {
			if all = append(all, s); seen[s.index] {
				t.Fatalf("slot %d is given twice", s.index)
			}
			seen[s.index] = true
		}
		if len(all) != maxSlots-1 { // one is the table's
			t.Errorf("%d slots", len(all))
		}
		version := all[7].Changes().Load()
		for _, s := range all {
			tab.Free(s)
		}
		if got := all[7].Changes().Load(); got == version {
			t.Error("flows that name a freed slot hold")
		}
		again := tab.Slot()
		if again == nil {
			t.Fatal("none is free again")
		}
		tab.Free(again)
		return nil
	})
}

// Now is never later than the kernel's clock, and hardly earlier.
func TestNow(t *testing.T) {
	for range 1000 {
		before, now, after := clockNow(), Now(), clockNow()
		if now > after || now+uint64(time.Millisecond) < before {
			t.Fatalf("%d between %d and %d", now, before, after)
		}
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}
