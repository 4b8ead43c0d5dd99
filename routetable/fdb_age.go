package routetable

import "time"

const defaultAgeing = 300 * time.Second

// SetAgeing changes how long learnt entries live: from the last frame that was
// received from them. 0 means 300 s. The next Sweep is the first to use it.
func (t *FDB) SetAgeing(d time.Duration) {
	if d <= 0 {
		d = defaultAgeing
	}
	t.ageing.Store(ticksOf(d))
}

// Sweep removes the dynamic entries from which nothing was received for more
// than the ageing time, whatever was sent to them (as Linux does since 6.15),
// but not those of a controller. It returns when the next entry could be due:
// after now, and after the ageing time from now at the latest.
func (t *FDB) Sweep(now Tick) (next Tick) {
	limit := t.ageing.Load()
	next = now + Tick(limit) + 1
	for i := range t.shards {
		s := &t.shards[i]
		if s.table.Load() != nil {
			t.sweepShard(s, now, limit, &next)
		}
	}
	return next
}

func (t *FDB) sweepShard(s *shard, now Tick, limit uint32, next *Tick) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := func(*Remote) bool { return true }
	for at := range s.entries {
		if m := meta(at.meta.Load()); m.state() != Dynamic || m.flags()&ExternLearn != 0 {
			continue
		}
		// A worker's clock may be ahead of now: its entry is not old.
		updated := Tick(at.updated.Load())
		if now.since(updated) > int32(limit) {
			t.drop(s, at, true, all)
			continue
		}
		if due := updated + Tick(limit) + 1; next.since(due) > 0 {
			*next = due
		}
	}
	s.shrink(&t.seed)
}
