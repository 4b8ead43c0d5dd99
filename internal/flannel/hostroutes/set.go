package hostroutes

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/netconf"
)

// Options say where routes are kept.
type Options struct {
	// Ranges are where this node and its peers have their subnets.
	Ranges []netconf.Range

	Log *zap.Logger
}

// Set is the routes that ought to be there. Its methods may be called from any
// goroutine, and reach the network namespace in which the first one was.
type Set struct {
	o Options

	mu      sync.Mutex
	kernel  *kernel
	watcher *Watch
	wanted  map[netip.Prefix]*entry

	period, pace time.Duration
}

// entry is a route that ought to be there.
type entry struct {
	Route
	index int    // of its device, when it was last found or put there
	told  string // why it is not there, as somebody was told
}

// New returns an empty set.
func New(o Options) *Set {
	return &Set{o: o, wanted: map[netip.Prefix]*entry{}, period: period, pace: pace}
}

// Reset makes routes all there are in the set, and takes away what a former
// process, or flannel, left in the kernel. A route that cannot be had does not
// keep the others from being had: the error names it, and Run tries it again.
func (s *Set) Reset(routes []Route) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.wanted
	s.wanted = make(map[netip.Prefix]*entry, len(routes))
	for _, r := range routes {
		s.wanted[r.Dst] = &entry{Route: r}
	}
	t, err := s.read()
	if err != nil {
		return err
	}
	_, err = s.ensure(t)
	errs := []error{err}
	for dst, e := range before {
		if s.wanted[dst] == nil {
			errs = append(errs, s.remove(e))
		}
	}
	return errors.Join(append(errs, s.purge(t))...)
}

// Change takes the routes to the prefixes of gone away and puts others in, in
// place of those to the same prefixes, without a moment between. Errors are as
// of Reset.
func (s *Set) Change(put []Route, gone []netip.Prefix) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	var errs []error
	for _, dst := range gone {
		if e := s.wanted[dst]; e != nil {
			delete(s.wanted, dst)
			errs = append(errs, s.remove(e))
		}
	}
	return errors.Join(append(errs, s.add(put))...)
}

// read reads the kernel's table, and begins to watch it before the first time.
func (s *Set) read() (*table, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return s.kernel.read()
}

func (s *Set) open() (err error) {
	if s.watcher == nil {
		if s.watcher, err = NewWatch(); err != nil {
			return err
		}
	}
	if s.kernel == nil {
		s.kernel, err = openKernel()
	}
	return err
}

// Close gives up what the set holds of this process, and leaves the routes.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher != nil {
		s.watcher.Close()
		s.watcher = nil
	}
	if s.kernel != nil {
		s.kernel.close()
		s.kernel = nil
	}
}
