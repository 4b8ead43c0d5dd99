package hostroutes

import "sync"

// todo is what changes ask for, which often come many together.
type todo struct {
	some chan struct{} // holds one while there is something to do

	mu               sync.Mutex
	check, elsewhere bool
}

func newTodo() *todo { return &todo{some: make(chan struct{}, 1)} }

// add adds a look at the routes of the set, and at those elsewhere.
func (t *todo) add(check, elsewhere bool) {
	if !check && !elsewhere {
		return
	}
	t.mu.Lock()
	t.check = t.check || check
	t.elsewhere = t.elsewhere || elsewhere
	t.mu.Unlock()
	select {
	case t.some <- struct{}{}:
	default:
	}
}

func (t *todo) take() (check, elsewhere bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	check, elsewhere = t.check, t.elsewhere
	t.check, t.elsewhere = false, false
	return check, elsewhere
}

// listen adds what the watcher tells of, until that is closed.
func (s *Set) listen(w *watcher, todo *todo) error {
	for {
		c, err := w.next()
		if err != nil {
			return err
		}
		todo.add(s.concerns(c))
	}
}

// concerns reports whether a change may have to do with the routes of the set,
// and whether with what is elsewhere, by which gateways are reached. What the
// set itself puts and takes away does not.
func (s *Set) concerns(c change) (set, elsewhere bool) {
	if c.everything {
		return true, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range c.routes {
		e := s.wanted[r.dst]
		switch {
		case e != nil && (r.gone || r.via != e.Gateway || r.index != e.index):
			set = true
		case e == nil && !s.subnet(r.dst):
			set, elsewhere = true, true
		}
	}
	return set, elsewhere
}
