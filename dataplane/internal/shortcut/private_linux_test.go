//go:build !portable

package shortcut

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/weftnet/weft/internal/lab"
)

// followed is a table, and what it has told.
type followed struct {
	*Table
	mu   sync.Mutex
	told []Lack
}

func openFollowed(t *testing.T) *followed {
	t.Helper()
	f := &followed{}
	tab, err := Open(func(l Lack) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.told = append(f.told, l)
	})
	check(t, err)
	f.Table = tab
	return f
}

// uses waits until programs use those devices, by their last letters.
func (f *followed) uses(t *testing.T, want string) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		got := ""
		for _, u := range f.privates.uses {
			if index := f.privates.slot.words[u.word].Load(); index != 0 && index == uint64(u.in.index) {
				got += u.in.name[len(u.in.name)-1:]
			}
		}
		if got != want {
			return fmt.Errorf("used are %q, want %q", got, want)
		}
		return nil
	}))
}

// tells waits until all of this has been told, and nothing else.
func (f *followed) tells(t *testing.T, want ...Lack) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !slices.Equal(f.told, want) {
			return fmt.Errorf("told is %+v, want %+v", f.told, want)
		}
		return nil
	}))
}

// A device that is down, or without a carrier, is not used, and others that depend
// on it are not; it is told once. A device that was deleted is not used any more,
// also when another one has its number.
func TestPrivateDevices(t *testing.T) {
	const both = withoutJoiner + "; " + withoutCutter
	in(t, func(h *lab.Host) error {
		tab := openFollowed(t)
		defer tab.Close()
		tab.uses(t, "acd")
		var told []Lack
		for _, c := range []struct{ device, left, slower, tx, rx string }{
			{"weft-rx0a", "d", both, "weft-rx0a: it is down", "weft-rx0a: it is down"},
			{"weft-rx0b", "d", both, "weft-rx0b: it is down", "weft-rx0b: it is down"},
			{"weft-rx0c", "ad", withoutCutter, "weft-rx0c: it is down", "weft-rx0c: it is down"},
			{"weft-rx0d", "ac", withoutScrubber, "", "weft-rx0d: it is down"},
		} {
			check(t, h.SetDown(c.device))
			tab.uses(t, c.left)
			checkWithout(t, tab.Table, c.tx, c.rx)
			told = append(told, Lack{c.device, "it is down", c.slower, "ip link set " + c.device + " up"})
			tab.tells(t, told...)
			check(t, h.SetUp(c.device))
			tab.uses(t, "acd")
			told = append(told, Lack{Device: c.device})
			tab.tells(t, told...)
		}
		index := tab.scrubber.in
		check(t, h.Delete("weft-rx0d"))
		tab.uses(t, "ac")
		told = append(told, Lack{"weft-rx0d", "it is gone", withoutScrubber, "start weft again"})
		tab.tells(t, told...)
		check(t, h.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "weft-rx0d", Index: index, TxQLen: -1}, PeerName: "other"}))
		check(t, h.SetUp("other"))
		check(t, h.SetUp("weft-rx0d"))
		check(t, h.Delete("weft-rx0b"))
		tab.uses(t, "")
		tab.tells(t, append(told, Lack{"weft-rx0a", "it is gone", both, "start weft again"})...)
		return nil
	})
}

// A table that is closed deletes no device that has got the number of one of its own.
func TestCloseLeavesOthers(t *testing.T) {
	in(t, func(h *lab.Host) error {
		tab := openFollowed(t)
		index := tab.scrubber.in
		check(t, h.Delete("weft-rx0d"))
		check(t, addDummy(h, index))
		tab.Close()
		if d, err := h.Device("under0"); err != nil || d.Index != index {
			t.Errorf("the other device: %+v, %v", d, err)
		}
		return nil
	})
}

// What the kernel had no room to tell is seen all the same, and so is that a device
// has become another one.
func TestPrivateDevicesUntold(t *testing.T) {
	in(t, func(h *lab.Host) error {
		tab := openFollowed(t)
		defer tab.Close()
		tab.uses(t, "acd")
		tab.privates.changes.Close()
		tab.privates.follows.Wait()
		check(t, h.SetDown("weft-rx0c"))
		index := tab.scrubber.in
		check(t, h.Delete("weft-rx0d"))
		check(t, h.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "weft-rx0d", Index: index, TxQLen: -1}, PeerName: "other"}))
		check(t, h.SetUp("other"))
		check(t, h.SetUp("weft-rx0d"))
		tab.privates.look(0)
		tab.uses(t, "a")
		tab.privates.lose()
		tab.uses(t, "")
		checkWithout(t, tab.Table, "weft-rx0c: it is down", "weft-rx0a: it cannot be looked at; weft-rx0c: it is down; weft-rx0d: it is gone")
		return nil
	})
}
