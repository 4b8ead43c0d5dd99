package routetable

import (
	"runtime"
	"slices"
	"testing"
)

func wantNoAllocs(t *testing.T, what string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%s: %v allocations a call", what, n)
	}
}

func TestFDBDoesNotAllocate(t *testing.T) {
	fdb := newFDB()
	r := remote(1)
	wantError(t, fdb.ChangeDefault(nil, &r, 0), nil)
	wantError(t, fdb.Add(MAC{4}, r, Static, 0, 0), nil)
	fdb.Learn(station, r.Addr, 0, 0)
	now := Tick(0)
	wantNoAllocs(t, "Lookup of a learnt address", func() { now++; fdb.Lookup(station, now) })
	wantNoAllocs(t, "Lookup of an unknown one", func() { now++; fdb.Lookup(broadcast, now) })
	wantNoAllocs(t, "Learn of what is known", func() { now++; fdb.Learn(station, r.Addr, 0, now) })
	wantNoAllocs(t, "Learn of a pinned address", func() { fdb.Learn(MAC{4}, r.Addr, 0, now) })
	wantNoAllocs(t, "Sweep", func() { fdb.Sweep(now) })
	// A station that two VTEPs fight for.
	wantNoAllocs(t, "Learn of a move", func() {
		fdb.Learn(station, vtep(1), 0, now)
		fdb.Learn(station, vtep(2), 0, now)
	})
}

// heap returns the bytes in use once all garbage is collected.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A million addresses are learnt, found, shown and aged out, and take the
// memory that the table says and no more.
func TestFDBMillion(t *testing.T) {
	n := 1_000_000
	if underRace {
		n = 50_000
	}
	all := macs(n)
	before := heap()
	fdb := learnt(all)
	taken := heap() - before
	t.Logf("%d entries take %.1f bytes each; the table says %.1f", n, float64(taken)/float64(n), float64(fdb.Memory())/float64(n))
	if fdb.Len() != n || !underRace && (taken > 100<<20 || fdb.Memory() > taken || fdb.Memory() < taken*3/4) {
		t.Errorf("%d entries in %d bytes; the table says %d", fdb.Len(), taken, fdb.Memory())
	}
	for i, mac := range all {
		if list := fdb.Lookup(mac, 5); len(list) != 1 || list[0].Addr != vtep(i%1000) {
			t.Fatalf("%v goes to %v", mac, list)
		}
	}
	next := n
	for e := range fdb.Entries() {
		if next--; e.MAC != all[next] || e.Used != 5 {
			t.Fatalf("%+v comes where %v should", e, all[next])
		}
	}
	fdb.Sweep(10_000)
	if empty := NewFDB(Options{}).Memory(); fdb.Len() != 0 || fdb.Memory() != empty {
		t.Errorf("%d entries are left in %d bytes; an empty table has %d", fdb.Len(), fdb.Memory(), empty)
	}
}

// A flood of made-up addresses from made-up VTEPs leaves nothing behind when it
// has aged: what entries share is bounded.
func TestFDBFlood(t *testing.T) {
	fdb := newFDB()
	before := heap()
	for i, mac := range macs(100_000) {
		fdb.Learn(mac, vtep(i), 0, 0)
	}
	fdb.Sweep(10_000)
	if left := heap() - before; fdb.Len() != 0 || left > 1<<20 {
		t.Errorf("%d entries, %d bytes are left", fdb.Len(), left)
	}
}

// A table made smaller and larger keeps what it has: also the times.
func TestFDBRebuild(t *testing.T) {
	fdb := newFDB()
	fdb.seed = hashSeed{0, 1} // one shard
	all := macs(3000)
	for i, mac := range all {
		fdb.Learn(mac, vtep(i), 0, Tick(i))
		fdb.Lookup(mac, Tick(2*i))
	}
	s := &fdb.shards[0]
	large := len(s.table.Load().slots)
	for _, mac := range all[10:] {
		wantError(t, fdb.Delete(mac, nil), nil)
	}
	if small := len(s.table.Load().slots); large != 8192 && large != 4096 || small > 128 {
		t.Errorf("%d slots became %d", large, small)
	}
	for i, mac := range all[:10] {
		e, _ := fdb.Entry(mac)
		if want := []Remote{{vtep(i), 4789, 5, 0}}; !slices.Equal(e.Remotes, want) || e.Updated != Tick(i) || e.Used != Tick(2*i) {
			t.Errorf("%d: %+v", i, e)
		}
	}
}

// Whatever empties a table gives its memory back.
func TestFDBMemoryAfterwards(t *testing.T) {
	for what, empty := range map[string]func(*FDB){
		"sweep":  func(fdb *FDB) { fdb.Sweep(10_000) },
		"flush":  func(fdb *FDB) { fdb.Flush(Filter{}) },
		"down":   func(fdb *FDB) { fdb.Down() },
		"delete": func(fdb *FDB) { deleteAll(t, fdb) },
	} {
		fdb := newFDB()
		before := fdb.Memory()
		for i, mac := range macs(5000) {
			fdb.Learn(mac, vtep(i), 0, 0)
		}
		full := fdb.Memory()
		if empty(fdb); fdb.Len() != 0 || fdb.Memory() != before || full < before+5000*32 {
			t.Errorf("%s: %d entries, %d bytes before, %d after and %d between", what, fdb.Len(), before, fdb.Memory(), full)
		}
	}
}

func deleteAll(t *testing.T, fdb *FDB) {
	for e := range fdb.Entries() {
		wantError(t, fdb.Delete(e.MAC, nil), nil)
	}
}
