package routetable

import (
	"slices"
	"strings"
	"testing"
)

// What is left of one entry in each state, the default of the link among them,
// after bridge fdb flush (iproute2 6.1) on a kernel device (6.18).
func TestFilterWords(t *testing.T) {
	for words, want := range map[string]string{
		"":                      "",
		"permanent":             "static dynamic",
		"nopermanent":           "default permanent",
		"static":                "default permanent dynamic",
		"nostatic":              "permanent static",
		"dynamic":               "default permanent static",
		"nodynamic":             "default dynamic",
		"permanent static":      "default static dynamic",
		"static permanent":      "default static dynamic",
		"nopermanent nostatic":  "default permanent static",
		"static nodynamic":      "default permanent dynamic",
		"nodynamic nopermanent": "default permanent dynamic",
		"nodynamic nostatic":    "permanent static",
	} {
		fdb := newFDB()
		r := remote(1)
		wantError(t, fdb.ChangeDefault(nil, &r, 0), nil)
		names := map[MAC]string{{}: "default", {2}: "permanent", {4}: "static", {6}: "dynamic"}
		wantError(t, fdb.Add(MAC{2}, r, Permanent, 0, 0), nil)
		wantError(t, fdb.Add(MAC{4}, r, Static, 0, 0), nil)
		wantError(t, fdb.Add(MAC{6}, r, Dynamic, 0, 0), nil)
		var f Filter
		for _, word := range strings.Fields(words) {
			if !f.Word(word) {
				t.Errorf("%q is no word", word)
			}
		}
		flushed := fdb.Flush(f)
		var left []string
		for e := range fdb.Entries() {
			left = append(left, names[e.MAC])
		}
		slices.SortFunc(left, func(a, b string) int {
			return strings.Index("default permanent static dynamic", a) - strings.Index("default permanent static dynamic", b)
		})
		if got := strings.Join(left, " "); got != want || flushed != 4-len(left) {
			t.Errorf("flush %q: %d flushed, %q left, not %q", words, flushed, got, want)
		}
	}
	if new(Filter).Word("noreachable") {
		t.Error("noreachable is a word")
	}
}

// fdb_flush.sh, vxlan_test_flush_by_remote_attributes: of a default with
// several remotes, those go that match everything given.
func TestFlushRemotes(t *testing.T) {
	fdb := newFDB()
	var all []Remote
	for _, vni := range []uint32{2000, 3000} {
		for _, to := range []struct {
			host byte
			port uint16
		}{{1, 4789}, {1, 1111}, {2, 2222}} {
			r := Remote{remote(to.host).Addr, to.port, vni, 0}
			all = append(all, r)
			wantError(t, fdb.Append(MAC{}, r, Permanent, 0, 0), nil)
		}
	}
	vni, port := uint32(2000), uint16(1111)
	if n := fdb.Flush(Filter{Dst: remote(1).Addr, Port: &port, VNI: &vni}); n != 1 {
		t.Errorf("%d flushed", n)
	}
	wantRemotes(t, fdb, MAC{}, append(all[:1:1], all[2:]...)...)
	port = 2222
	if n := fdb.Flush(Filter{Dst: remote(2).Addr, Port: &port}); n != 2 {
		t.Errorf("%d flushed", n)
	}
	wantRemotes(t, fdb, MAC{}, all[0], all[3], all[4])
	if n := fdb.Flush(Filter{Dst: remote(1).Addr}); n != 3 || fdb.Len() != 0 {
		t.Errorf("%d flushed, %d entries", n, fdb.Len())
	}
}

// Setting a link down spares what was put by hand, and the default whatever
// its state: seen on Linux 6.18.
func TestDown(t *testing.T) {
	fdb := newFDB()
	r := remote(1)
	wantError(t, fdb.Add(MAC{}, r, Dynamic, 0, 0), nil)
	wantError(t, fdb.Add(MAC{2}, r, Permanent, 0, 0), nil)
	wantError(t, fdb.Add(MAC{4}, r, Static, 0, 0), nil)
	wantError(t, fdb.Add(MAC{6}, r, Dynamic, ExternLearn, 0), nil)
	wantError(t, fdb.Add(group, r, Dynamic, 0, 0), nil)
	fdb.Learn(MAC{8}, r.Addr, 0, 0)
	if n := fdb.Down(); n != 3 {
		t.Errorf("%d removed", n)
	}
	var left []MAC
	for e := range fdb.Entries() {
		left = append(left, e.MAC)
	}
	if want := []MAC{{4}, {2}, {}}; !slices.Equal(left, want) {
		t.Errorf("%v left", left)
	}
}
