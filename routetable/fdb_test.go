package routetable

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
)

func remote(n byte) Remote {
	return Remote{Addr: netip.AddrFrom4([4]byte{192, 0, 2, n}), Port: 4789, VNI: 5, IfIndex: int(n)}
}

// Every address is unknown to a table that has nothing but a default.
var addresses = []MAC{{}, {2, 0, 0, 0, 0, 1}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {1, 0, 0x5e, 0, 0, 1}}

func TestFDB(t *testing.T) {
	var fdb FDB
	for _, step := range [][]Remote{nil, {remote(1)}, {remote(2), remote(3)}, {}, {remote(1)}} {
		if step != nil {
			fdb.SetDefault(step...)
		}
		for _, mac := range addresses {
			if got := fdb.Lookup(mac); !slices.Equal(got, step) {
				t.Errorf("default %v: %v goes to %v", step, mac, got)
			}
		}
	}
}

// What the caller does to its slice afterwards is not the table's business.
func TestFDBKeepsItsOwn(t *testing.T) {
	var fdb FDB
	remotes := []Remote{remote(1), remote(2)}
	fdb.SetDefault(remotes...)
	remotes[0] = remote(9)
	if got := fdb.Lookup(MAC{}); got[0] != remote(1) {
		t.Errorf("the default became %v by itself", got)
	}
}

// Workers look while the default is replaced: they see one or the other.
func TestFDBWhileChanging(t *testing.T) {
	var fdb FDB
	one, two := []Remote{remote(1)}, []Remote{remote(2), remote(3)}
	fdb.SetDefault(one...)
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			for range 5000 {
				if got := fdb.Lookup(MAC{2}); !slices.Equal(got, one) && !slices.Equal(got, two) {
					t.Errorf("neither one nor the other: %v", got)
					return
				}
			}
		})
	}
	for i := range 5000 {
		fdb.SetDefault([][]Remote{one, two}[i%2]...)
	}
	wait.Wait()
}

func TestLookupDoesNotAllocate(t *testing.T) {
	var fdb FDB
	fdb.SetDefault(remote(1))
	if n := testing.AllocsPerRun(100, func() { fdb.Lookup(MAC{2, 3}) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func TestMACString(t *testing.T) {
	if got := (MAC{0, 1, 0xab, 0xcd, 0xef, 0xff}).String(); got != "00:01:ab:cd:ef:ff" {
		t.Error(got)
	}
}
