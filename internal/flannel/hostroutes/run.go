package hostroutes

import (
	"context"
	"errors"
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
	todo := newTodo()
	deaf := make(chan error, 1)
	go func() { deaf <- s.listen(w, todo) }()
	tick := time.NewTicker(s.period)
	defer tick.Stop()
	s.elsewhere()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-deaf:
			if ctx.Err() == nil {
				s.o.Log.Error("changes of routes are not told any more, so they are looked for", zap.Duration("every", s.period), zap.Error(err))
			}
		case <-tick.C:
			todo.add(true, true)
		case <-todo.some:
		}
		s.look(ctx, todo)
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

// look does what there is to do.
func (s *Set) look(ctx context.Context, todo *todo) {
	check, elsewhere := todo.take()
	if elsewhere {
		s.elsewhere()
	}
	if !check {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return // and closed, perhaps
	}
	if err := s.check(); err != nil {
		s.o.Log.Warn("routes cannot be kept, it is tried again", zap.Error(err))
	}
}

func (s *Set) elsewhere() {
	if s.o.Elsewhere != nil {
		s.o.Elsewhere()
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
