package store_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/store"
)

func TestWatchFromForgottenRevision(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store, prefix string) {
		ctx := within(t)
		server, _ := shared.Prefix(t)
		first, err := s.Create(ctx, prefix+"/subnets/a", []byte("x"), 0)
		if err != nil {
			t.Fatal(err)
		}
		p := first
		for range 1001 { // v2 remembers a thousand
			if p, err = s.Replace(ctx, p.Key, p.Value, 0, p.Revision); err != nil {
				t.Fatal(err)
			}
		}
		compact(t, server, p.Revision)
		if err := watch(ctx, s, prefix+"/subnets/", first.Revision).end(t); !errors.Is(err, store.ErrGone) {
			t.Error(err)
		}
	})
}

// compact does so to v3; a revision of v2 is too low to hurt.
func compact(t *testing.T, server *etcdtest.Server, revision int64) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Compact(within(t), revision)
}

// etcdctl rm -r takes a whole directory, of whose keys nothing is said.
func TestDirectoryDeleted(t *testing.T) {
	server, prefix := shared.Prefix(t)
	s := opened(t, versions["v2"], store.Options{Endpoints: []string{server.Endpoint}})
	ctx := within(t)
	p, err := s.Create(ctx, prefix+"/subnets/a", []byte("x"), 0)
	if err != nil {
		t.Fatal(err)
	}
	w := watch(ctx, s, prefix+"/subnets/", p.Revision)
	removeAll(t, server.Endpoint, prefix)
	if err := w.end(t); !errors.Is(err, store.ErrGone) {
		t.Error(err)
	}
}

func each(t *testing.T, test func(t *testing.T, open open)) {
	t.Helper()
	for name, open := range versions {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

func TestServerAway(t *testing.T) {
	each(t, func(t *testing.T, open open) {
		server := etcdtest.Test(t, etcdtest.Config{})
		s := opened(t, open, store.Options{Endpoints: []string{server.Endpoint}, Timeout: time.Second})
		ctx := within(t)
		p, err := s.Create(ctx, "/n/subnets/a", []byte("x"), 0)
		if err != nil {
			t.Fatal(err)
		}
		w := watch(ctx, s, "/n/subnets/", p.Revision)
		<-w.at
		server.Stop()
		if err := w.end(t); !saysRefused(err, server) {
			t.Error("watch:", err)
		}
		if _, err := s.Read(ctx, "/n/subnets/"); !saysRefused(err, server) {
			t.Error("read:", err)
		}
		if _, err := s.Create(ctx, "/n/subnets/b", []byte("x"), 0); !saysRefused(err, server) {
			t.Error("create:", err)
		}
		if err := server.Run(); err != nil {
			t.Fatal(err)
		}
		retry(t, func() error {
			snap, err := s.Read(ctx, "/n/subnets/")
			if err == nil && len(snap.Pairs) != 1 {
				t.Error(snap)
			}
			return err
		})
	})
}

func saysRefused(err error, server *etcdtest.Server) bool {
	return err != nil && strings.Contains(err.Error(), server.Endpoint) && strings.Contains(err.Error(), "connection refused")
}

func retry(t *testing.T, try func() error) {
	t.Helper()
	if err := store.Retry(within(t), store.Backoff{}, func(error) {}, try); err != nil {
		t.Fatal(err)
	}
}

// A store that came back empty begins to count anew.
func TestWatchOfEmptiedStore(t *testing.T) {
	server := etcdtest.Test(t, etcdtest.Config{})
	s := opened(t, versions["v3"], store.Options{Endpoints: []string{server.Endpoint}, Timeout: time.Second})
	var p store.Pair
	for _, key := range []string{"/a", "/b", "/c"} {
		p, _ = s.Create(within(t), key, []byte("x"), 0)
	}
	server.Stop()
	if err := server.Forget(); err != nil {
		t.Fatal(err)
	}
	if err := server.Run(); err != nil {
		t.Fatal(err)
	}
	retry(t, func() error {
		err := s.Watch(within(t), "/", p.Revision, func([]store.Change, int64) { t.Error("watching from the future") })
		if errors.Is(err, store.ErrGone) {
			return nil
		}
		return err
	})
}

func TestOneEndpointDead(t *testing.T) {
	each(t, func(t *testing.T, open open) {
		server, prefix := shared.Prefix(t)
		dead, closed := "http://"+silent(t), "http://"+unused(t)
		for _, endpoints := range [][]string{{closed, server.Endpoint}, {server.Endpoint, closed}, {dead, server.Endpoint}} {
			s := opened(t, open, store.Options{Endpoints: endpoints, Timeout: time.Second})
			// What cannot be repeated without harm fails if it went to the dead one.
			retry(t, func() error {
				_, err := s.Create(within(t), prefix+"/"+strings.Join(endpoints, ""), []byte("x"), 0)
				if errors.Is(err, store.ErrExists) {
					return nil
				}
				return err
			})
		}
	})
}

// unused is an address where nobody listens.
func unused(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// silent is one that takes connections and says nothing.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestRequestsEndWithContext(t *testing.T) {
	each(t, func(t *testing.T, open open) {
		s := opened(t, open, store.Options{Endpoints: []string{"http://" + silent(t)}})
		ctx, cancel := context.WithCancel(within(t))
		cancel()
		if _, err := s.Read(ctx, "/a"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// A server that takes connections and says nothing keeps nobody who does not want to
// wait any more, with a user name either, for which it has to be asked first, or behind
// another who waits.
func TestWaitsEndWithContext(t *testing.T) {
	each(t, func(t *testing.T, open open) {
		for _, user := range []string{"", "root"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			s := opened(t, open, store.Options{Endpoints: []string{"http://" + l.Addr().String()}, Username: user, Password: user, Timeout: 2 * soon})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ended := make(chan error, 2)
			for range cap(ended) {
				go func() {
					_, err := s.Read(ctx, "/a")
					ended <- err
				}()
			}
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			cancel()
			for range cap(ended) {
				select {
				case err := <-ended:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("user %q: %v", user, err)
					}
				case <-time.After(soon):
					t.Fatalf("user %q: it is waited further", user)
				}
			}
		}
	})
}
