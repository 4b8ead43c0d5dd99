package registry

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
)

// Follower is told of the leases. Its functions are called one at a time; all
// but Take may be nil.
type Follower struct {
	// Take gets what has happened, in the order of the store. The first call
	// brings all leases there are, even if there are none; later ones may
	// bring many events that came together.
	Take func([]Event)

	Malformed func(Malformed) // each time that such a key is seen
	Away      func(error)     // the store does not answer any more, or, by now, for a certificate
	Back      func()          // it answers again

	// Moment is how long a lease is kept that has been deleted, until its node
	// has put it there again or not. 0 is DefaultMoment.
	Moment time.Duration

	// Grace is the same for leases that a store lacks which has lost all its
	// data. 0 is DefaultGrace.
	Grace time.Duration
}

// DefaultMoment is many times what a node that follows its lease needs to put
// it back, and little to those who want the addresses.
const DefaultMoment = time.Second / 2

// DefaultGrace is several times what a node needs to notice that the store is
// back.
const DefaultGrace = 30 * time.Second

// Follow keeps f informed until ctx ends, whose error it returns.
func (r *Registry) Follow(ctx context.Context, f Follower) error {
	w := &following{Follower: f.complete()}
	w.table = table{registry: r, leases: map[string]lease.Lease{}, missing: map[string]time.Time{}, moment: w.Moment, grace: w.Grace}
	for {
		err := w.step(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			continue
		case errors.Is(err, store.ErrGone):
			w.listed = false
		default:
			w.lost(err)
		}
		if err := w.backoff.Wait(ctx); err != nil {
			return err
		}
	}
}

func (f Follower) complete() Follower {
	if f.Malformed == nil {
		f.Malformed = func(Malformed) {}
	}
	if f.Away == nil {
		f.Away = func(error) {}
	}
	if f.Back == nil {
		f.Back = func() {}
	}
	if f.Moment == 0 {
		f.Moment = DefaultMoment
	}
	if f.Grace == 0 {
		f.Grace = DefaultGrace
	}
	return f
}

// following is one Follow.
type following struct {
	Follower
	listed  bool // the watch may go on from table.at
	away    bool // and the follower knows,
	refused bool // and also that it is for a certificate
	backoff store.Backoff

	mu       sync.Mutex // while there is a watch: its changes and the alarm come from two sides
	table    table
	watching bool
	alarm    *time.Timer // for what is missing
}

// step lists the leases if it must, and watches them until something ends that.
func (w *following) step(ctx context.Context) error {
	same, err := w.sameStore(ctx)
	if err != nil {
		return err
	}
	if !same {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	r := w.table.registry
	defer w.watch()()
	return r.store.Watch(ctx, r.subnets, w.table.at, w.changed)
}

const never = math.MaxInt64

// watch has what is missing forgotten in time until it is told to stop. While
// the store is away nothing is.
func (w *following) watch() (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watching = true
	w.alarm = time.AfterFunc(never, w.forget)
	w.setAlarm()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.watching = false
		w.alarm.Stop()
	}
}

func (w *following) setAlarm() {
	if due, ok := w.table.due(); ok {
		w.alarm.Reset(time.Until(due))
	}
}

func (w *following) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watching {
		w.tell(w.table.forget())
		w.setAlarm()
	}
}

// sameStore reports whether the watch may go on where it broke off. A store
// that lost its data and counts anew would not say that it is another one: the
// lease that changed last has to be there as it was.
func (w *following) sameStore(ctx context.Context) (bool, error) {
	known := w.table.newest()
	if !w.listed || known.Revision == 0 {
		return false, nil
	}
	r := w.table.registry
	read, err := r.store.Read(ctx, r.subnets+known.Name)
	return len(read.Pairs) == 1 && read.Pairs[0].Revision == known.Revision, err
}

func (w *following) list(ctx context.Context) error {
	snap, err := w.table.registry.Leases(ctx)
	if err != nil {
		return err
	}
	first := w.table.at == 0
	for _, m := range snap.Malformed {
		w.Malformed(m)
	}
	events := w.table.reset(snap)
	w.listed = true
	if first {
		w.Take(events)
	} else {
		w.tell(events)
	}
	return nil
}

// changed takes what a watch hands on.
func (w *following) changed(changes []store.Change, at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backoff.Reset()
	if w.away {
		w.away, w.refused = false, false
		w.Back()
	}
	w.tell(w.table.apply(changes, w.Malformed))
	w.table.at = at
	w.setAlarm()
}

func (w *following) tell(events []Event) {
	if len(events) > 0 {
		w.Take(events)
	}
}

// lost tells of one outage once, and once more if a certificate turns out to be
// in the way: that does not pass by itself.
func (w *following) lost(err error) {
	refused := store.Certificate(err)
	if !w.away || refused && !w.refused {
		w.away, w.refused = true, refused
		w.Away(err)
	}
}
