package routetable

import "net/netip"

// Add makes a route for a prefix that has none.
func (t *Routes) Add(p netip.Prefix, r Route) error {
	return t.put(p, r, false)
}

// Replace makes a route, or changes the one that is there: a packet goes the
// old way or the new one.
func (t *Routes) Replace(p netip.Prefix, r Route) error {
	return t.put(p, r, true)
}

func (t *Routes) put(p netip.Prefix, r Route, replace bool) error {
	if err := checkPrefix(p); err != nil {
		return err
	}
	f, k := t.family(p.Addr()), addressKey(p.Addr())
	t.mu.Lock()
	defer t.mu.Unlock()
	have := f.get(k, p.Bits())
	if have != nil && !replace {
		return ErrRouteExists
	}
	f.put(k, p.Bits(), t.shared(r))
	t.resize()
	if have == nil || *have != r {
		t.changed()
	}
	return nil
}

func (t *Routes) changed() {
	if t.Changes != nil {
		t.Changes.Add(1)
	}
}

// Delete removes the route of a prefix, if match says yes to it; nil says yes
// to any.
func (t *Routes) Delete(p netip.Prefix, match func(*Route) bool) error {
	if err := checkPrefix(p); err != nil {
		return err
	}
	f, k := t.family(p.Addr()), addressKey(p.Addr())
	t.mu.Lock()
	defer t.mu.Unlock()
	have := f.get(k, p.Bits())
	if have == nil || match != nil && !match(have) {
		return ErrRouteNotFound
	}
	f.remove(k, p.Bits())
	t.resize()
	t.changed()
	return nil
}

// maxShared bounds how many different routes are remembered for sharing. Beyond
// it all are forgotten, which costs memory and nothing else.
const maxShared = 1 << 16

// shared returns a route like r that never changes, the same for all prefixes
// with such a route: a million prefixes lead to a few thousand VTEPs.
func (t *Routes) shared(r Route) *Route {
	if have := t.same[r]; have != nil {
		return have
	}
	if len(t.same) >= maxShared {
		clear(t.same)
	}
	t.same[r] = &r
	return &r
}

// get returns the route of exactly this prefix, or nil.
func (f *routeFamily) get(k routeKey, length int) *Route {
	if level := f.lengths.Load().level(length); level != nil {
		return level.find(k)
	}
	return nil
}

func (f *routeFamily) put(k routeKey, length int, r *Route) {
	t := f.lengths.Load()
	level := t.level(length)
	isNew := level == nil || level.find(k) == nil
	if level == nil {
		level = newRouteLevel(length, minRouteSlots)
		level.put(k, r)
		f.lengths.Store(t.with(level))
	} else {
		if isNew && !level.takes(k) {
			level = level.resized(k)
			f.lengths.Store(t.with(level))
		}
		level.put(k, r)
	}
	if isNew {
		f.count++
	}
	if filter := f.lengths.Load().filter; filter != nil {
		filter.note(k, length)
	}
	f.refilter()
}

func (f *routeFamily) remove(k routeKey, length int) {
	t := f.lengths.Load()
	level := t.level(length)
	level.remove(k)
	f.count--
	f.deleted++
	switch {
	case level.live == 0:
		f.lengths.Store(t.with(level))
	case level.sparse():
		f.lengths.Store(t.with(level.resized(k)))
	}
	f.refilter()
}
