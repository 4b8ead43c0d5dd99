package agent

import "sync"

// status is whether the node is ready, and what it waits for where it is not.
type status struct {
	mu       sync.Mutex
	obstacle map[part]string
}

// part is something that has to be well for the node to be ready.
type part int

const (
	ofStart  part = iota // which has to be done once
	ofStore              // which has to answer
	ofFile               // subnet.env, which has to be written
	ofFilter             // whose rules have to be there
	ofHole               // which has to be there
	parts
)

func newStatus() *status {
	return &status{obstacle: map[part]string{ofStart: "it has just been started"}}
}

// wait says what is in the way, and reports whether that is new.
func (s *status) wait(p part, why string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.obstacle[p]
	s.obstacle[p] = why
	return before != why
}

// well says that nothing is, any more, and reports whether something was.
func (s *status) well(p part) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, was := s.obstacle[p]
	delete(s.obstacle, p)
	return was
}

func (s *status) waits(p part) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.obstacle[p]
	return is
}

// why returns what the node waits for, "" if it is ready.
func (s *status) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range parts {
		if why, there := s.obstacle[p]; there {
			return why
		}
	}
	return ""
}
