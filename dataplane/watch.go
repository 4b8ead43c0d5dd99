package dataplane

import (
	"sync"
	"sync/atomic"

	"github.com/weftnet/weft/routetable"
)

// Watcher is told what happens to the FDBs of all links.
type Watcher struct {
	events chan FDBEvent
	lost   atomic.Uint64
	done   chan struct{}
	of     *Dataplane
	tables map[*Link]*routetable.Watch // held under of.mu
	wg     sync.WaitGroup
}

// watchers is who watches, under the Dataplane's lock.
type watchers []*Watcher

// tableEvents is how many changes of one table wait for a watcher that is
// busy; what does not fit is counted.
const tableEvents = 4096

// WatchFDB starts telling of every change to the FDB of every link, present
// and future, and of misses on links that want these told.
func (d *Dataplane) WatchFDB() *Watcher {
	w := &Watcher{events: make(chan FDBEvent, 64), done: make(chan struct{}), of: d, tables: map[*Link]*routetable.Watch{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watchers = append(d.watchers, w)
	for _, l := range d.links {
		w.add(l)
	}
	d.watchers.publish(d.links)
	return w
}

// Events delivers what happens, in order for each address. It is never closed.
func (w *Watcher) Events() <-chan FDBEvent { return w.events }

// Lost returns how many events were lost since it was last asked, because they
// were not taken fast enough.
func (w *Watcher) Lost() uint64 { return w.lost.Swap(0) }

// Close ends the watch.
func (w *Watcher) Close() {
	d := w.of
	d.mu.Lock()
	for i, have := range d.watchers {
		if have == w {
			d.watchers = append(d.watchers[:i:i], d.watchers[i+1:]...)
			break
		}
	}
	d.watchers.publish(d.links)
	for l := range w.tables {
		w.drop(l)
	}
	d.mu.Unlock()
	close(w.done)
	w.wg.Wait()
}

// adopt lets everybody watch a new link.
func (ws watchers) adopt(l *Link) {
	for _, w := range ws {
		w.add(l)
	}
	ws.publish([]*Link{l})
}

// release ends the watching of a removed link, once its last events are told.
func (ws watchers) release(l *Link) {
	for _, w := range ws {
		w.drop(l)
	}
}

// publish lets the workers see who watches.
func (ws watchers) publish(links []*Link) {
	for _, l := range links {
		own := append([]*Watcher(nil), ws...)
		l.watchers.Store(&own)
	}
}

func (w *Watcher) add(l *Link) {
	if l.fdb == nil {
		return
	}
	table := l.fdb.Watch(tableEvents)
	w.tables[l] = table
	w.wg.Go(func() { w.forward(l, table) })
}

func (w *Watcher) drop(l *Link) {
	if table := w.tables[l]; table != nil {
		table.Close()
		delete(w.tables, l)
	}
}

// forward tells of a link's changes until its table's watch is closed.
func (w *Watcher) forward(l *Link, table *routetable.Watch) {
	names, lost := newNames(), uint64(0)
	for e := range table.Events() {
		event := l.event(EventNew)
		if e.Deleted {
			event.Kind = EventDeleted
		}
		event.Entry = names.entry(e.MAC, &e.Remote, e.State, e.Flags)
		if e.Stale {
			event.Entry.State = "stale"
		}
		select {
		case w.events <- event:
		case <-w.done:
			return
		}
		now := table.Lost()
		w.lost.Add(now - lost)
		lost = now
	}
}

func (l *Link) event(kind FDBEventKind) FDBEvent {
	attrs := l.attrs.Load()
	return FDBEvent{Kind: kind, Link: attrs.name, NetNS: attrs.netns, Index: attrs.index}
}

// miss drops a frame that no entry is for, and tells of it where that is
// wanted: for the addresses of single stations, as the kernel does.
func (l *Link) miss(s *settings, dst routetable.MAC) {
	l.counters.drops.drop(FDBMiss)
	if s.cfg.L2Miss && dst[0]&1 == 0 {
		event := l.event(EventMiss)
		event.Entry.MAC = dst
		l.tell(event)
	}
}

// tell gives an event of the worker's to all who watch. It never waits.
func (l *Link) tell(event FDBEvent) {
	all := l.watchers.Load()
	if all == nil {
		return
	}
	for _, w := range *all {
		select {
		case w.events <- event:
		default:
			w.lost.Add(1)
		}
	}
}
