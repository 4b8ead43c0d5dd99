package routetable

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestPermute takes permutations back: no two MACs have one hash.
func TestPermute(t *testing.T) {
	for range 1000 {
		s := newHashSeed()
		inverse := s.multiply // of an odd number, by Newton's iteration
		for range 6 {
			inverse *= 2 - s.multiply*inverse
		}
		key := rand.Uint64() &^ 0xffff
		h := s.permute(key)
		back := h * inverse
		back ^= back >> 24 &^ 0xffff
		if back = back*inverse ^ s.add<<16; back != key || h&0xffff != 0 {
			t.Fatalf("%+v: %#x becomes %#x, and that %#x", s, key, h, back)
		}
	}
}

// word is the index' word of a MAC that has an entry.
func word(fdb *FDB, mac MAC) uint64 {
	s, rest := fdb.shardOf(keyOf(mac))
	b := s.table.Load()
	i, _ := b.place(rest)
	return b.index[i].Load()
}

// A lookup finds the remotes in the index and leaves the tick there. A change of the entry
// is seen there, too, and its end.
func TestIndexEngages(t *testing.T) {
	fdb := newFDB()
	fdb.Learn(station, vtep(1), 0, 0)
	for tick, move := range map[Tick]int{7: 2, 9: 3} {
		list := fdb.Lookup(station, tick)
		w := word(fdb, station)
		if set := fdb.numbers.of(w); set == nil || &set.list[0] != &list[0] || w&markerMask != marker(tick) {
			t.Errorf("%d: the index has %#x", tick, w)
		}
		fdb.Learn(station, vtep(move), 0, tick)
		if set := fdb.numbers.of(word(fdb, station)); set == nil || set.list[0].Addr != vtep(move) {
			t.Errorf("%d: the index has %#x when the station has moved", tick, word(fdb, station))
		}
	}
	wantError(t, fdb.Delete(station, nil), nil)
	if list := fdb.Lookup(station, 9); list != nil {
		t.Errorf("deleted, and goes to %v", list)
	}
}

// Times of use are right however long ago they are, and when ticks begin anew, if there
// are Sweeps.
func TestIndexMarkersComeAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for _, start := range []Tick{5, math.MaxInt32 - 10*marked, math.MaxUint32 - 10*marked} {
		fdb := newFDB()
		fdb.Sweep(start)
		wantError(t, fdb.Add(station, remote(1), Static, 0, start), nil)
		now, used := start, start
		for range 1000 {
			now += Tick(r.IntN(60 * TicksPerSecond))
			if r.IntN(10) == 0 {
				fdb.Lookup(station, now)
				used = now
			}
			if e, _ := fdb.Entry(station); e.Used != used {
				t.Fatalf("used at %d, and shown at %d as %d", used, now, e.Used)
			}
			now += Tick(r.IntN(TicksPerSecond))
			fdb.Sweep(now)
		}
	}
}

// Sets without a number are found all the same. Those that are not shared do not take the
// last half of the numbers.
func TestIndexWithoutNumbers(t *testing.T) {
	fdb := newFDB()
	all := macs(30_000)
	for i, mac := range all[:10_000] {
		fdb.Learn(mac, vtep(i), 0, 0)
	}
	if n, half := int(fdb.numbers.next.Load()), len(fdb.numbers.sets)/2; n > half || n < half-100 {
		t.Errorf("%d numbers are given to sets of one MAC, want %d", n, half)
	}
	for i, mac := range all {
		fdb.Learn(mac, vtep(i/4), 0, 0)
	}
	if n := int(fdb.numbers.next.Load()); n != len(fdb.numbers.sets) {
		t.Errorf("%d numbers are given to shared sets, want all", n)
	}
	for tick := range Tick(2) {
		for i, mac := range all {
			if list := fdb.Lookup(mac, tick); len(list) != 1 || list[0].Addr != vtep(i/4) {
				t.Fatalf("%v goes to %v", mac, list)
			}
		}
	}
}
