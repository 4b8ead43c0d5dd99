package routetable

import (
	"slices"
	"sync"
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

// Watchers come and go while the table changes, and harm neither it nor each
// other.
func TestWatchComeAndGo(t *testing.T) {
	fdb := newFDB()
	stay := fdb.Watch(0)
	defer stay.Close()
	var wait sync.WaitGroup
	for g := range byte(2) {
		wait.Go(func() {
			for i := range 2000 {
				fdb.Learn(MAC{2, g}, vtep(i), 0, 0)
			}
		})
		wait.Go(func() {
			for range 500 {
				w := fdb.Watch(1)
				w.Close()
				for e := range w.Events() {
					if e.Deleted || e.State != Dynamic {
						t.Errorf("%+v", e)
					}
				}
			}
		})
	}
	wait.Wait()
	if stay.Lost() != 4000 {
		t.Errorf("who stayed was sent %d events", stay.Lost())
	}
}
