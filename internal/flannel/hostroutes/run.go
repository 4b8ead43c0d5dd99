package hostroutes

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	// period is flannel's, for what was not told.
	period = 10 * time.Second

	// pace is the least time between two looks at the whole table, so that
	// whoever fights over a route costs neither side its processor.
	pace = 100 * time.Millisecond
)

// Run puts back what others take away, and tries again what failed, until ctx
// ends, whose error it returns.
func (s *Set) Run(ctx context.Context) error {
	s.mu.Lock()
	err := s.open()
	w := s.watcher
	s.mu.Unlock()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Close)()
	signs := make(chan struct{}, 1)
	deaf := make(chan error, 1)
	go func() { deaf <- s.listen(w, signs) }()
	tick := time.NewTicker(s.period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-deaf:
			if ctx.Err() == nil {
				s.o.Log.Error("changes of routes are not told any more, so they are looked for", zap.Duration("every", s.period), zap.Error(err))
			}
		case <-tick.C:
		case <-signs:
		}
		s.look(ctx)
		if !rest(ctx, s.pace) {
			return ctx.Err()
		}
	}
}

// rest returns false when ctx ends.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// listen gives a sign when the watcher tells of something that may have to do
// with the set, until that is closed.
func (s *Set) listen(w *Watch, signs chan<- struct{}) error {
	for {
		c, err := w.Next()
		if err != nil {
			return err
		}
		if s.concerns(c) {
			select {
			case signs <- struct{}{}:
			default: // one waits already
			}
		}
	}
}

// concerns reports whether a change may have to do with the routes of the set.
// What the set itself puts and takes away does not.
func (s *Set) concerns(c Change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.All {
		return true
	}
	for _, r := range c.Routes {
		e := s.wanted[r.Dst]
		if e != nil && (r.Gone || r.Via != e.Gateway || r.Index != e.index) {
			return true
		}
	}
	// A route that could not be had may need a device, an address or a route.
	waiting := len(c.Devices) > 0 || slices.ContainsFunc(c.Routes, func(r RouteChange) bool { return r.Leads() && s.wanted[r.Dst] == nil })
	for _, e := range s.wanted {
		if waiting && e.told != "" || slices.Contains(c.Devices, e.index) {
			return true
		}
	}
	return false
}

func (s *Set) look(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return // and closed, perhaps
	}
	if err := s.check(); err != nil {
		s.o.Log.Warn("routes cannot be kept, it is tried again", zap.Error(err))
	}
}

// check has all routes in the kernel, and tells of what is new.
func (s *Set) check() error {
	t, err := s.read()
	if err != nil {
		return err
	}
	told := make(map[*entry]string, 1)
	for _, e := range s.wanted {
		if e.told != "" {
			told[e] = e.told
		}
	}
	put, _ := s.ensure(t)
	if len(put) > 0 {
		s.o.Log.Info("routes were missing and are put back", zap.Int("count", len(put)), zap.String("first", put[0].String()))
	}
	var errs []error
	for _, e := range s.wanted {
		if e.told != told[e] && e.told != "" {
			errs = append(errs, errors.New(e.told))
		}
	}
	return errors.Join(errs...)
}
