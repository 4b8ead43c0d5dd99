package routetable_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/routetable"
)

func TestIsRouter(t *testing.T) {
	fdb := routetable.NewFDB(routetable.Options{Ageing: time.Minute})
	router, host, absent := routetable.MAC{2, 1}, routetable.MAC{2, 2}, routetable.MAC{2, 3}
	remote := routetable.Remote{Addr: netip.MustParseAddr("192.0.2.1"), Port: 4789, VNI: 5}
	for _, mac := range []routetable.MAC{router, {}} {
		if err := fdb.Add(mac, remote, routetable.Static, routetable.Router, 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := fdb.Add(host, remote, routetable.Static, routetable.ExternLearn, 10); err != nil {
		t.Fatal(err)
	}
	// What the all-zero MAC's entry says is not said of the others.
	for mac, want := range map[routetable.MAC]bool{router: true, {}: true, host: false, absent: false} {
		if got := fdb.IsRouter(mac, 20); got != want {
			t.Errorf("%v: %v, want %v", mac, got, want)
		}
		if e, ok := fdb.Entry(mac); ok && e.Used != 20 {
			t.Errorf("%v: used at %d, want 20", mac, e.Used)
		}
	}
	if n := testing.AllocsPerRun(50, func() { fdb.IsRouter(router, 30) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
	if err := fdb.Delete(router, nil); err != nil {
		t.Fatal(err)
	}
	if fdb.IsRouter(router, 40) {
		t.Error("an entry that is gone is a router's")
	}
}
