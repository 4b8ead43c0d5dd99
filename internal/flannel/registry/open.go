package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/weftnet/weft/internal/flannel/store"
	"github.com/weftnet/weft/internal/flannel/store/etcd2"
	"github.com/weftnet/weft/internal/flannel/store/etcd3"
)

// Options say which network, and by which version of etcd's interface.
type Options struct {
	store.Options
	Prefix string // "" for DefaultPrefix
	API    int    // 2 or 3, 0 for 3
}

// Open returns a network in etcd. It does not connect.
func Open(o Options) (*Registry, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.API == 0 {
		o.API = 3
	}
	s, err := OpenStore(o.API, o.Options)
	if err != nil {
		return nil, err
	}
	r := New(s, o.Prefix)
	r.other = newOtherAPI(o)
	return r, nil
}

// OpenStore returns the store under a network, by a version of the interface.
func OpenStore(api int, o store.Options) (store.Store, error) {
	switch api {
	case 2:
		return etcd2.Open(o)
	case 3:
		return etcd3.Open(o)
	}
	return nil, fmt.Errorf("--etcd-api=%d: wanted is 2 or 3", api)
}

// otherAPI is the version of etcd's interface that is not used. The keys of
// one are not seen in the other, and many a config was written to the wrong one.
type otherAPI struct {
	mine, name, flag string
	open             func() (store.Store, error)
	again            time.Duration // after which it is asked again while there is no config
}

// otherLimit is how long it is waited for: a server need not have it.
const otherLimit = 5 * time.Second

func newOtherAPI(o Options) *otherAPI {
	other := 5 - o.API
	return &otherAPI{
		mine: fmt.Sprintf("v%d", o.API),
		name: fmt.Sprintf("v%d", other),
		flag: fmt.Sprintf("--etcd-api=%d", other),
		open: func() (store.Store, error) { return OpenStore(other, o.Options) },

		again: 10 * time.Second,
	}
}

func (a *otherAPI) has(ctx context.Context, key string) bool {
	s, err := a.open()
	if err != nil {
		return false
	}
	defer s.Close()
	ctx, stop := context.WithTimeout(ctx, otherLimit)
	defer stop()
	read, err := s.Read(ctx, key)
	return err == nil && len(read.Pairs) == 1
}
