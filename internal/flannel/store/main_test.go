package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/store"
	"github.com/weftnet/weft/internal/flannel/store/etcd2"
	"github.com/weftnet/weft/internal/flannel/store/etcd3"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { shared.Main(m) }

// soon is what a test waits for at most.
const soon = 20 * time.Second

type open func(store.Options) (store.Store, error)

var versions = map[string]open{
	"v3": func(o store.Options) (store.Store, error) { return etcd3.Open(o) },
	"v2": func(o store.Options) (store.Store, error) { return etcd2.Open(o) },
}

// onBoth runs a test over both versions, with a prefix of its own.
func onBoth(t *testing.T, test func(t *testing.T, s store.Store, prefix string)) {
	t.Helper()
	for name, open := range versions {
		t.Run(name, func(t *testing.T) {
			server, prefix := shared.Prefix(t)
			test(t, opened(t, open, store.Options{Endpoints: []string{server.Endpoint}}), prefix)
		})
	}
}

func opened(t *testing.T, open open, o store.Options) store.Store {
	t.Helper()
	s, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	t.Cleanup(cancel)
	return ctx
}
