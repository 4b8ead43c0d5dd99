package routetable

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// macs returns n different unicast addresses in no order.
func macs(n int) []MAC {
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]MAC, n)
	for i := range all {
		all[i] = MAC{2, byte(r.Uint32()), byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
	}
	r.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// learnt returns a table that has learnt all from a thousand VTEPs.
func learnt(all []MAC) *FDB {
	t := NewFDB(Options{Learned: Remote{Port: 4789, VNI: 5}})
	for i, mac := range all {
		t.Learn(mac, vtep(i%1000), 0, 0)
	}
	return t
}

func vtep(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// deviceBatch is how many frames the dataplane reads at once at most.
const deviceBatch = 64

// BenchmarkFDBLookup looks for addresses in no order, all of them present and
// used in the same eighth of a second before.
func BenchmarkFDBLookup(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000, 1_000_000} {
		lookUpMACs(b, n, false)
	}
}

// BenchmarkFDBLookupBatch looks for as many at once as a device's batch has, as
// the dataplane does.
func BenchmarkFDBLookupBatch(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		lookUpMACs(b, n, true)
	}
}

func lookUpMACs(b *testing.B, n int, batches bool) {
	b.Run(strconv.Itoa(n), func(b *testing.B) {
		all := macs(n)
		t := learnt(all)
		for _, mac := range all {
			t.Lookup(mac, 1)
		}
		b.ReportAllocs()
		i, sum := 0, 0
		for b.Loop() {
			if batches && i%deviceBatch == 0 {
				for _, mac := range all[i:min(i+deviceBatch, n)] {
					t.Prefetch(mac)
				}
			}
			sum += int(t.Lookup(all[i], 1)[0].Port)
			if i++; i == n {
				i = 0
			}
		}
		if sum == 0 {
			b.Error("nothing found")
		}
	})
}

// BenchmarkFDBLookupDefault looks for an address that is not there.
func BenchmarkFDBLookupDefault(b *testing.B) {
	t := learnt(macs(1000))
	r := remote(1)
	if err := t.ChangeDefault(nil, &r, 0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		t.Lookup(MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1)
	}
}

// BenchmarkFDBLearn refreshes what is known, with the clock moving on every
// thousand frames.
func BenchmarkFDBLearn(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			all := macs(n)
			t := learnt(all)
			b.ReportAllocs()
			i, at, frame := 0, 0, 0
			for b.Loop() {
				t.Learn(all[i], vtep(at), 0, Tick(frame/1000))
				frame++
				if at++; at == 1000 {
					at = 0
				}
				if i++; i == n {
					i, at = 0, 0
				}
			}
		})
	}
}

// BenchmarkFDBLearnNew learns a million addresses.
func BenchmarkFDBLearnNew(b *testing.B) {
	all := macs(1_000_000)
	for b.Loop() {
		learnt(all)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/entry")
	before := heap()
	fdb := learnt(all)
	b.ReportMetric(float64(heap()-before)/float64(fdb.Len()), "B/entry")
}

// BenchmarkFDBSweep looks through a million entries of which none is due.
func BenchmarkFDBSweep(b *testing.B) {
	t := learnt(macs(1_000_000))
	b.ReportAllocs()
	for b.Loop() {
		t.Sweep(TickOf(time.Second))
	}
}
