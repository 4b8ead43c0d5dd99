package routetable

import "testing"

// What is fetched is where Lookup finds four in five entries at least, and
// nothing is noted as used by it.
func TestFDBPrefetch(t *testing.T) {
	all := macs(100_000)
	fdb := learnt(all)
	there := 0
	for _, mac := range all {
		before, _ := fdb.Entry(mac)
		fdb.Prefetch(mac)
		if after, _ := fdb.Entry(mac); after.Used != before.Used || after.Updated != before.Updated {
			t.Fatalf("%v: used at %d and updated at %d, before that at %d and %d", mac, after.Used, after.Updated, before.Used, before.Updated)
		}
		first, second := fdb.likely(mac)
		if key := keyOf(mac); first.key.Load() == key || second.key.Load() == key {
			there++
		}
	}
	if there < len(all)*4/5 {
		t.Errorf("%d of %d entries are where they are said to be", there, len(all))
	}
	wantNoAllocs(t, "Prefetch", func() { fdb.Prefetch(all[0]) })
}

// Addresses without an entry, and tables without any, have nothing to fetch.
func TestFDBPrefetchNothing(t *testing.T) {
	fdb := newFDB()
	for _, mac := range []MAC{{}, station, broadcast} {
		fdb.Prefetch(mac)
		if first, _ := fdb.likely(mac); first != nil {
			t.Errorf("%v: there is something to fetch in an empty table", mac)
		}
	}
	fdb = learnt(macs(20_000))
	for _, mac := range []MAC{{}, station, broadcast} {
		fdb.Prefetch(mac)
		if _, ok := fdb.Entry(mac); ok {
			t.Errorf("%v has an entry now", mac)
		}
	}
}
