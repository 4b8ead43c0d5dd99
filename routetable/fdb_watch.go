package routetable

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Event is one change of the table: an entry made, a remote added to it, its
// remote, state or flags changed; or, with Deleted, one remote gone. Frames
// that only refresh an entry make none. The events of one MAC come in the
// order of its changes.
type Event struct {
	Deleted bool
	Stale   bool // with Deleted: of old age
	MAC     MAC
	Remote  Remote
	State   State
	Flags   Flags
}

// Watch receives the changes of a table from its making on.
type Watch struct {
	of     *FDB
	lost   atomic.Uint64
	mu     sync.Mutex // no event is sent once the channel is closed
	closed bool
	events chan Event
}

// watchers are those who watch a table. When nobody does, a change costs one
// atomic load more.
type watchers struct {
	mu  sync.Mutex
	all atomic.Pointer[[]*Watch]
}

// Watch starts watching. Nobody who changes the table ever waits for a
// watcher: of events that are not taken in time, buffer are kept and the
// others are lost, and counted.
func (t *FDB) Watch(buffer int) *Watch {
	w := &Watch{of: t, events: make(chan Event, buffer)}
	t.watchers.change(func(all []*Watch) []*Watch { return append(all, w) })
	return w
}

// Events is where the changes arrive. Close closes it.
func (w *Watch) Events() <-chan Event { return w.events }

// Lost returns how many events did not fit.
func (w *Watch) Lost() uint64 { return w.lost.Load() }

// Close ends the watching. What has arrived can still be taken.
func (w *Watch) Close() {
	w.of.watchers.change(func(all []*Watch) []*Watch {
		return slices.DeleteFunc(all, func(other *Watch) bool { return other == w })
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		close(w.events)
	}
}

func (w *Watch) send(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	select {
	case w.events <- e:
	default:
		w.lost.Add(1)
	}
}

// change replaces the list; those who are sending go on with the old one.
func (ws *watchers) change(f func(own []*Watch) []*Watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var own []*Watch
	if have := ws.all.Load(); have != nil {
		own = slices.Clone(*have)
	}
	if own = f(own); len(own) == 0 {
		ws.all.Store(nil)
		return
	}
	ws.all.Store(&own)
}

// tell sends that a remote of an entry is new, or the entry different. The
// caller holds the shard's lock, which is what keeps the order.
func (t *FDB) tell(at *slot, r *Remote) {
	if all := t.watchers.all.Load(); all != nil {
		sendAll(*all, at.event(r))
	}
}

// tellDropped sends that the remotes that match are going. The entry still has
// them.
func (t *FDB) tellDropped(at *slot, stale bool, match func(*Remote) bool) {
	all := t.watchers.all.Load()
	if all == nil {
		return
	}
	list := at.remotes.Load().list
	for i := range list {
		if match(&list[i]) {
			e := at.event(&list[i])
			e.Deleted, e.Stale = true, stale
			sendAll(*all, e)
		}
	}
}

func (e *slot) event(r *Remote) Event {
	m := meta(e.meta.Load())
	return Event{MAC: macOf(e.key.Load()), Remote: *r, State: m.state(), Flags: m.flags() & flagsGiven}
}

func sendAll(all []*Watch, e Event) {
	for _, w := range all {
		w.send(e)
	}
}
