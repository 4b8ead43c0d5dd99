package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weftnet/weft/internal/lab"
)

// The cases of fdb_flush.sh. Those of src_vni want an `external` device, those
// of nhid a nexthop object: weft has neither, and refuses both words by name.

// pools are the addresses that the script fills tables with.
var pools = [2][]string{macPool("de:ad:be:ef:13:1%d"), macPool("ca:fe:be:ef:13:1%d")}

func macPool(format string) (macs []string) {
	for i := range 5 {
		macs = append(macs, fmt.Sprintf(format, i))
	}
	return macs
}

// Where the entries of the two pools are, if nothing else is said.
const dst1, dst2 = "192.0.2.1", "192.0.2.2"

// flushable are two links of one host, with tables to be flushed.
type flushable struct{ vx10, vx20 *link }

func newFlushable(t *testing.T, k kind) *flushable {
	t.Helper()
	if k == kernel {
		lab.NeedLinux(t, 6, 7, "flushing FDBs of vxlan devices")
	}
	h := lab.TestHost(t, "host")
	vx10 := newLink(t, h, k, spec{VXLAN: lab.VXLAN{Name: "vx10", ID: 1000, Port: 4789}})
	return &flushable{vx10, vx10.sibling(t, spec{VXLAN: lab.VXLAN{Name: "vx20", ID: 2000, Port: 4789}})}
}

// addPool adds an entry for each address of a pool. words are behind the MAC.
func (l *link) addPool(t *testing.T, pool int, words string) {
	t.Helper()
	if l.kind == user { // in one process
		var batch []string
		for _, m := range pools[pool] {
			batch = append(batch, fmt.Sprintf("fdb add %s dev %s %s", m, l.dev, words))
		}
		must(l.weft.Must("-batch", writeLines(t, batch)))(t)
		return
	}
	for _, m := range pools[pool] {
		l.fdb(t, append([]string{"add", m}, strings.Fields(words)...)...)
	}
}

// flush runs `bridge fdb flush` with some words.
func (l *link) flush(t *testing.T, words string) {
	t.Helper()
	l.fdb(t, append([]string{"flush"}, strings.Fields(words)...)...)
}

// wantEntries wants the table to have n lines with some words.
func (l *link) wantEntries(t *testing.T, n int, words string) {
	t.Helper()
	got := 0
	table := l.table(t)
	for _, line := range table {
		if strings.Contains(line+" ", " "+words+" ") || words == "" {
			got++
		}
	}
	if got != n {
		t.Errorf("%s has %d entries with %q, want %d:\n%s", l.dev, got, words, n, strings.Join(table, "\n"))
	}
}

// flushBy fills the table from both pools, flushes, and says how many of each
// must be left. The lines of each pool are told by words.
func (f *flushable) flushBy(t *testing.T, filter string, first, second string, left1, left2 int) {
	t.Helper()
	f.vx10.addPool(t, 0, first)
	f.vx10.addPool(t, 1, second)
	f.vx10.flush(t, filter)
	count := func(pool int) (n int) {
		for _, line := range f.vx10.table(t) {
			if mac, _, _ := strings.Cut(line, " "); slices.Contains(pools[pool], mac) {
				n++
			}
		}
		return n
	}
	if got := [2]int{count(0), count(1)}; got != [2]int{left1, left2} {
		t.Errorf("fdb flush %s left %d of %q and %d of %q, want %d and %d", filter, got[0], first, got[1], second, left1, left2)
	}
	f.vx10.flush(t, "")
	f.vx10.wantEntries(t, 0, "")
}

// vxlan_test_flush_by_dev: everything of one link goes, its default entry too,
// and nothing of another.
func TestFDBFlushByDev(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		f := newFlushable(t, k)
		f.vx10.addPool(t, 0, "vni 3000 dst "+dst1)
		f.vx20.addPool(t, 1, "vni 3000 dst "+dst1)
		f.vx10.wantEntries(t, 5, "vni 3000")
		f.vx20.wantEntries(t, 5, "vni 3000")
		f.vx10.set(t, "remote", dst2)
		f.vx10.wantEntries(t, 6, "")
		f.vx10.flush(t, "")
		f.vx10.wantEntries(t, 0, "")
		f.vx20.wantEntries(t, 5, "vni 3000")
	})
}

// vxlan_test_flush_by_vni, _by_port, _by_dst_ip.
func TestFDBFlushByRemote(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		f := newFlushable(t, k)
		for _, by := range [][2]string{{"vni 3000", "vni 4000"}, {"port 1234", "port 4321"}} {
			f.flushBy(t, by[1], by[0]+" dst "+dst1, by[1]+" dst "+dst1, 5, 0)
		}
		f.flushBy(t, "dst "+dst2, "dst "+dst1, "dst "+dst2, 5, 0)
		// What an entry does not say is the link's own.
		f.flushBy(t, "port 4789 vni 1000", "dst "+dst1, "vni 4000 dst "+dst1, 0, 5)
	})
}

// vxlan_test_flush_by_permanent … _by_nodynamic.
func TestFDBFlushByState(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		f := newFlushable(t, k)
		for _, c := range []struct {
			word, first, second string
			left1, left2        int
		}{
			{"permanent", "permanent", "extern_learn", 0, 0}, // which is permanent, nothing else being said
			{"nopermanent", "permanent", "static", 5, 0},
			{"static", "static", "dynamic", 0, 5},
			{"nostatic", "permanent", "dynamic", 5, 0},
			{"dynamic", "dynamic", "static", 0, 5},
			{"nodynamic", "permanent", "dynamic", 0, 5},
		} {
			f.flushBy(t, c.word, "dst "+dst1+" "+c.first, "dst "+dst2+" "+c.second, c.left1, c.left2)
		}
	})
}

// vxlan_test_flush_by_extern_learn … _by_norouter.
func TestFDBFlushByFlag(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		f := newFlushable(t, k)
		for _, c := range []struct {
			word, first, second string
			left1, left2        int
		}{
			{"extern_learn", "extern_learn", "router", 0, 5},
			{"noextern_learn", "extern_learn", "router", 5, 0},
			{"router", "router", "extern_learn", 0, 5},
			{"norouter", "router", "extern_learn", 5, 0},
		} {
			f.flushBy(t, c.word, "dst "+dst1+" "+c.first, "dst "+dst2+" "+c.second, c.left1, c.left2)
		}
	})
}

// vxlan_test_flush_by_several_args: all that is given has to hold. In place of
// the nexthop there is a destination.
func TestFDBFlushBySeveralArgs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		f := newFlushable(t, k)
		f.flushBy(t, "dst "+dst1+" router", "dst "+dst1+" router permanent", "dst "+dst1+" router static", 0, 0)
		f.flushBy(t, "dst "+dst1+" router", "dst "+dst1+" permanent", "dst "+dst2+" router static", 5, 5)
		of := "vni 3000 port 1234 dst "
		f.flushBy(t, of+dst2, of+dst1, of+dst2, 5, 0)
		f.flushBy(t, "static norouter extern_learn dst "+dst1, "dst "+dst1+" static extern_learn", "dst "+dst1+" static extern_learn router", 0, 5)
	})
}

// vxlan_test_flush_by_remote_attributes: of an entry with several remotes those
// go that match, and no other. (Source VNIs are of `external` devices.)
func TestFDBFlushByRemoteAttributes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, k kind) {
		f := newFlushable(t, k)
		var want []string
		for _, vni := range []string{"2000", "3000"} {
			for _, remote := range []string{dst1, dst1 + " port 1111", dst2 + " port 2222"} {
				f.vx10.fdb(t, append([]string{"append", zeroMAC, "vni", vni, "dst"}, strings.Fields(remote)...)...)
				want = append(want, fmt.Sprintf("%s dst %s vni %s self permanent", zeroMAC, remote, vni))
			}
		}
		for _, c := range []struct {
			filter string
			gone   []int // of want
		}{
			{"dst " + dst1 + " port 1111 vni 2000", []int{1}},
			{"dst " + dst2 + " port 2222", []int{2, 5}},
			{"vni 3000 port 4789", []int{3}},
			{"vni 3000 dst " + dst2, nil},
			{"dst " + dst1, []int{0, 4}},
		} {
			f.vx10.flush(t, c.filter)
			for _, i := range c.gone {
				want[i] = ""
			}
			left := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return s == "" })
			if got := f.vx10.table(t); !slices.Equal(got, left) {
				t.Fatalf("fdb flush %s left %q, want %q", c.filter, got, left)
			}
		}
	})
}

// bridge_vxlan_test_flush: a table of the link and that of the bridge for its
// port are flushed each by itself, and the link's by no VLAN.
func TestFDBFlushInBridge(t *testing.T) {
	t.Parallel()
	lab.NeedBridge(t)
	each(t, func(t *testing.T, k kind) {
		l := newFlushable(t, k).vx10
		check(t, l.AddBridge("br0"))
		check(t, l.SetMaster("br0", l.dev))
		l.addPool(t, 0, "vni 3000 dst "+dst1)
		inBridge := func() int {
			return len(slices.DeleteFunc(l.portTable(t), func(line string) bool { return !strings.HasPrefix(line, "ca:fe:") }))
		}
		fill := func() {
			for _, m := range pools[1] {
				check(t, l.ChangeFDB(lab.FDBReplace, lab.FDBEntry{Dev: l.dev, MAC: mac(m), Flags: unix.NTF_MASTER, State: lab.FDBStatic}))
			}
		}
		fill()
		if err := l.tryFDB(t, "flush", "vlan", "10"); err == nil {
			t.Error("fdb flush vlan 10 was carried out")
		}
		l.wantEntries(t, 5, "vni 3000")
		check(t, l.FlushFDB(lab.FDBEntry{Dev: l.dev, Flags: unix.NTF_MASTER}, 0, 0))
		l.wantEntries(t, 5, "vni 3000")
		if n := inBridge(); n != 0 {
			t.Errorf("the bridge has %d entries after its flush", n)
		}
		fill()
		l.flush(t, "self")
		l.wantEntries(t, 0, "")
		if n := inBridge(); n != len(pools[1]) {
			t.Errorf("the bridge has %d entries after the link's flush, want %d", n, len(pools[1]))
		}
	})
}
