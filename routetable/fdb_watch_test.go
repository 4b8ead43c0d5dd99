package routetable

import (
	"slices"
	"testing"
)

func TestWatchTwo(t *testing.T) {
	fdb := newFDB()
	a, b := fdb.Watch(10), fdb.Watch(10)
	fdb.Learn(station, remote(1).Addr, 0, 0)
	a.Close()
	a.Close() // is no harm
	fdb.Learn(station, remote(2).Addr, 0, 0)
	b.Close()
	fdb.Learn(station, remote(3).Addr, 0, 0)
	var atA, atB []Event
	for e := range a.Events() {
		atA = append(atA, e)
	}
	for e := range b.Events() {
		atB = append(atB, e)
	}
	want := []Event{
		{MAC: station, Remote: Remote{Addr: remote(1).Addr, Port: 4789, VNI: 5}},
		{MAC: station, Remote: Remote{Addr: remote(2).Addr, Port: 4789, VNI: 5}},
	}
	if !slices.Equal(atA, want[:1]) || !slices.Equal(atB, want) {
		t.Errorf("%+v and %+v", atA, atB)
	}
	if fdb.watchers.all.Load() != nil {
		t.Error("somebody still watches")
	}
}

// Whoever learns does not wait for a watcher that takes nothing.
func TestWatchOverflow(t *testing.T) {
	fdb := newFDB()
	w := fdb.Watch(3)
	defer w.Close()
	for i := range byte(10) {
		fdb.Learn(MAC{2, i}, remote(i).Addr, 0, 0)
	}
	if len(w.Events()) != 3 || w.Lost() != 7 {
		t.Errorf("%d kept, %d lost", len(w.Events()), w.Lost())
	}
	for i := range byte(3) {
		if e := <-w.Events(); e.MAC != (MAC{2, i}) {
			t.Errorf("%d: %v", i, e.MAC)
		}
	}
}
