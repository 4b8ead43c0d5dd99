package routetable

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// mixedPrefixes returns n different prefixes in no order, from all of the
// address space and of the lengths that an Internet table has: of IPv4 half are
// /24, a tenth single hosts and the others /16 to /25; of IPv6 /32 to /64.
func mixedPrefixes(n int, ipv6 bool) []netip.Prefix {
	r := rand.New(rand.NewPCG(3, 4))
	seen := make(map[netip.Prefix]bool, n)
	all := make([]netip.Prefix, 0, n)
	for len(all) < n {
		var p netip.Prefix
		if ipv6 {
			a := [16]byte{0x20 | byte(r.IntN(16)), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}
			p, _ = netip.AddrFrom16(a).Prefix(32 + r.IntN(33))
		} else {
			length := [10]int{24, 24, 24, 24, 24, 32}
			p, _ = netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}).
				Prefix(max(length[r.IntN(10)], 16+r.IntN(10)))
		}
		if !seen[p] {
			seen[p] = true
			all = append(all, p)
		}
	}
	return all
}

// nodePrefixes returns the first n subnets of a flannel network, in no order:
// /28 of 10.0.0.0/8 (of which there are a million), or /64.
func nodePrefixes(n int, ipv6 bool) []netip.Prefix {
	all := make([]netip.Prefix, n)
	for i := range all {
		if ipv6 {
			all[i] = netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0x10, 0x24, 0, byte(i >> 16), byte(i >> 8), byte(i)}), 64)
		} else {
			all[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 12), byte(i >> 4), byte(i << 4)}), 28)
		}
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// routed returns a table with a route for each prefix, to a thousand VTEPs.
func routed(t testing.TB, all []netip.Prefix) *Routes {
	routes := NewRoutes()
	for i, p := range all {
		if err := routes.Add(p, Route{Remote: Remote{Addr: vtep(i % 1000), Port: 8285}}); err != nil {
			t.Fatal(err)
		}
	}
	return routes
}

// hostIn returns any address of a prefix.
func hostIn(r *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= byte(r.IntN(2)) << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// BenchmarkRoutesLookup looks for addresses of routes in no order.
func BenchmarkRoutesLookup(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000, 1_000_000} {
		lookUpRoutes(b, n, false)
	}
}

// BenchmarkRoutesLookupBatch looks for as many at once as a device's batch has,
// as the dataplane does.
func BenchmarkRoutesLookupBatch(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		lookUpRoutes(b, n, true)
	}
}

func lookUpRoutes(b *testing.B, n int, batches bool) {
	for _, kind := range []struct {
		name     string
		prefixes func(int, bool) []netip.Prefix
		ipv6     bool
	}{{"mixed4", mixedPrefixes, false}, {"mixed6", mixedPrefixes, true}, {"nodes4", nodePrefixes, false}, {"nodes6", nodePrefixes, true}} {
		b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
			all := kind.prefixes(n, kind.ipv6)
			t := routed(b, all)
			r := rand.New(rand.NewPCG(5, 6))
			size := len(all[0].Addr().AsSlice())
			addrs := make([]byte, 0, min(n, 1<<17)*size)
			for range cap(addrs) / size {
				addrs = append(addrs, hostIn(r, all[r.IntN(n)]).AsSlice()...)
			}
			b.ReportAllocs()
			i, sum := 0, 0
			for b.Loop() {
				if batches && i%(deviceBatch*size) == 0 {
					for j := i; j < min(i+deviceBatch*size, len(addrs)); j += size {
						t.Prefetch(addrs[j : j+size])
					}
				}
				sum += int(t.Lookup(addrs[i : i+size]).Port)
				if i += size; i == len(addrs) {
					i = 0
				}
			}
			if sum == 0 {
				b.Error("nothing found")
			}
		})
	}
}

// BenchmarkRoutesLookupMiss looks for an address that no prefix has.
func BenchmarkRoutesLookupMiss(b *testing.B) {
	t := routed(b, nodePrefixes(100_000, false))
	nowhere := []byte{192, 0, 2, 1}
	b.ReportAllocs()
	for b.Loop() {
		if t.Lookup(nowhere) != nil {
			b.Fatal("found")
		}
	}
}

// BenchmarkRoutesAdd makes a table of a million routes.
func BenchmarkRoutesAdd(b *testing.B) {
	all := mixedPrefixes(1_000_000, false)
	for b.Loop() {
		routed(b, all)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/route")
}
