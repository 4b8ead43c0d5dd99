package daemon

import (
	"errors"
	"iter"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/weftnet/weft/dataplane"
)

// standInLink and standInLinks stand in for the dataplane, so that the
// daemon's life can be tested step by step. Real devices are used in the tests
// of the command line.
type standInLink struct{ cfg dataplane.LinkConfig }

func (l *standInLink) Info() dataplane.LinkInfo {
	return dataplane.LinkInfo{LinkConfig: l.cfg, Index: 3}
}

func (l *standInLink) Stats() dataplane.Stats {
	return dataplane.Stats{Name: l.cfg.Name, RxPackets: 9}
}

var errTaken = errors.New("name is taken")

// standInLinks holds links by name in order. Only what the daemon's own lock
// must protect is left unprotected here.
type standInLinks struct {
	t      *testing.T
	busy   atomic.Bool // a change is at work
	links  atomic.Pointer[[]*standInLink]
	gone   chan *standInLink
	closed chan struct{}
}

func newStandIn(t *testing.T) *standInLinks {
	s := &standInLinks{t: t, gone: make(chan *standInLink), closed: make(chan struct{})}
	s.links.Store(&[]*standInLink{})
	return s
}

// change runs f alone, and fails the test if the daemon lets two changes in.
func (s *standInLinks) change(f func(have []*standInLink) ([]*standInLink, error)) error {
	if !s.busy.CompareAndSwap(false, true) {
		s.t.Error("two changes at once")
	}
	defer s.busy.Store(false)
	next, err := f(*s.links.Load())
	if err == nil {
		s.links.Store(&next)
	}
	return err
}

func (s *standInLinks) AddLink(cfg dataplane.LinkConfig) (*standInLink, error) {
	added := &standInLink{cfg}
	return added, s.change(func(have []*standInLink) ([]*standInLink, error) {
		for _, l := range have {
			if l.cfg.Name == cfg.Name {
				return nil, errTaken
			}
		}
		return append(have[:len(have):len(have)], added), nil
	})
}

func (s *standInLinks) RemoveLink(name string) error {
	return s.change(func(have []*standInLink) ([]*standInLink, error) {
		var left []*standInLink
		for _, l := range have {
			if l.cfg.Name != name {
				left = append(left, l)
			}
		}
		if len(left) == len(have) {
			return nil, errors.New("unknown")
		}
		return left, nil
	})
}

// vanish is `ip link del`: the dataplane drops the link, then says so.
func (s *standInLinks) vanish(name string) {
	_ = s.RemoveLink(name)
	s.gone <- &standInLink{dataplane.LinkConfig{Name: name}}
}

func (s *standInLinks) Links() []*standInLink     { return *s.links.Load() }
func (s *standInLinks) Gone() <-chan *standInLink { return s.gone }
func (s *standInLinks) Close() error              { close(s.closed); return nil }

func (l *standInLink) Change(*dataplane.LinkChange) error { return errNotHere }
func (l *standInLink) FDB() (iter.Seq[dataplane.FDBEntry], error) {
	return func(func(dataplane.FDBEntry) bool) {}, nil
}
func (l *standInLink) ChangeFDB(*dataplane.FDBChange) error       { return errNotHere }
func (l *standInLink) FlushFDB(*dataplane.FDBFilter) (int, error) { return 0, errNotHere }
func (l *standInLink) Routes() (iter.Seq[dataplane.RouteEntry], error) {
	return nil, errNotHere
}
func (l *standInLink) Route(netip.Addr) (dataplane.RouteEntry, error) {
	return dataplane.RouteEntry{}, errNotHere
}
func (l *standInLink) ChangeRoute(*dataplane.RouteChange) error { return errNotHere }
func (s *standInLinks) WatchFDB() *dataplane.Watcher            { return nil }

var errNotHere = errors.New("a stand-in has no table")
