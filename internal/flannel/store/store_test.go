package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv2 "go.etcd.io/etcd/client/v2"

	"github.com/weftnet/weft/internal/flannel/store"
)

func TestKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store, prefix string) {
		ctx := within(t)
		key, beside := prefix+"/subnets/10.1.2.0-24&fc00:0:0:1::-64", prefix+"/subnets-old/10.1.2.0-24"
		empty, err := s.Read(ctx, prefix+"/subnets/")
		if err != nil || len(empty.Pairs) != 0 || empty.Revision == 0 {
			t.Fatal("nothing:", empty, err)
		}
		made, err := s.Create(ctx, key, []byte("one"), 0)
		if err != nil || made.Key != key || made.Created != made.Revision || made.Revision <= empty.Revision || !made.Permanent {
			t.Fatalf("created: %+v %v after %d", made, err, empty.Revision)
		}
		if _, err := s.Create(ctx, key, []byte("two"), time.Hour); !errors.Is(err, store.ErrExists) {
			t.Error("created again:", err)
		}
		if _, err := s.Create(ctx, beside, []byte("old"), 0); err != nil {
			t.Error(err)
		}
		next, err := s.Replace(ctx, key, []byte("three"), time.Hour, made.Revision)
		if err != nil || next.Revision <= made.Revision || next.Permanent {
			t.Fatalf("replaced: %+v %v", next, err)
		}
		for _, path := range []string{key, prefix + "/subnets/"} {
			snap, err := s.Read(ctx, path)
			if err != nil || len(snap.Pairs) != 1 || snap.Revision < next.Revision {
				t.Fatalf("%s: %+v %v", path, snap, err)
			}
			p := snap.Pairs[0]
			if p.Key != key || string(p.Value) != "three" || p.Created != made.Created || p.Revision != next.Revision || p.Permanent {
				t.Errorf("%s: %+v", path, p)
			}
			if left, err := s.TTL(ctx, p); err != nil || left > time.Hour || left < time.Hour-time.Minute {
				t.Error(path, left, err)
			}
		}
		if _, err := s.Replace(ctx, key, []byte("four"), 0, made.Revision); !errors.Is(err, store.ErrChanged) {
			t.Error("replaced at an old revision:", err)
		}
		if _, err := s.Replace(ctx, prefix+"/none", []byte("four"), 0, made.Revision); !errors.Is(err, store.ErrChanged) {
			t.Error("replaced what is not there:", err)
		}
		if err := s.Delete(ctx, key, made.Revision); !errors.Is(err, store.ErrChanged) {
			t.Error("deleted at an old revision:", err)
		}
		if err := s.Delete(ctx, key, next.Revision); err != nil {
			t.Error(err)
		}
		if err := s.Delete(ctx, key, next.Revision); !errors.Is(err, store.ErrChanged) {
			t.Error("deleted twice:", err)
		}
		if snap, err := s.Read(ctx, key); err != nil || len(snap.Pairs) != 0 {
			t.Error("deleted:", snap, err)
		}
	})
}

// TestDeletedForFlannel has a watcher that knows what flannel's of etcd v2 knows:
// nothing but the value, or one of two words for its end.
func TestDeletedForFlannel(t *testing.T) {
	server, prefix := shared.Prefix(t)
	ctx, s := within(t), opened(t, versions["v2"], store.Options{Endpoints: []string{server.Endpoint}})
	client, err := clientv2.New(clientv2.Config{Endpoints: []string{server.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []time.Duration{0, time.Hour} {
		key := fmt.Sprintf("%s/%v", prefix, ttl)
		made, err := s.Create(ctx, key, []byte("x"), ttl)
		if err != nil {
			t.Fatal(err)
		}
		w := clientv2.NewKeysAPI(client).Watcher(key, &clientv2.WatcherOptions{AfterIndex: uint64(made.Revision)})
		if err := s.Delete(ctx, key, made.Revision); err != nil {
			t.Fatal(err)
		}
		event, err := w.Next(ctx)
		if err != nil || event.Action != "delete" {
			t.Errorf("with a TTL of %v watchers get %+v %v", ttl, event, err)
		}
	}
}

func TestReplaceMakesPermanent(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store, prefix string) {
		ctx, key := within(t), prefix+"/key"
		made, err := s.Create(ctx, key, []byte("x"), time.Hour)
		if err != nil || made.TTL != time.Hour {
			t.Fatal(made, err)
		}
		if p, err := s.Replace(ctx, key, []byte("x"), 0, made.Revision); err != nil || !p.Permanent {
			t.Fatal(p, err)
		}
		snap, err := s.Read(ctx, key)
		if err != nil || !snap.Pairs[0].Permanent {
			t.Error(snap, err)
		}
		if left, err := s.TTL(ctx, snap.Pairs[0]); left != 0 || err != nil {
			t.Error(left, err)
		}
	})
}

// seen collects what a watch hands on.
type seen struct {
	changes chan store.Change
	at      chan int64
	ended   chan error
}

func watch(ctx context.Context, s store.Store, path string, after int64) seen {
	w := seen{make(chan store.Change, 5000), make(chan int64, 5000), make(chan error, 1)}
	go func() {
		w.ended <- s.Watch(ctx, path, after, func(changes []store.Change, at int64) {
			for _, c := range changes {
				w.changes <- c
			}
			w.at <- at
		})
	}()
	return w
}

func (w seen) next(t *testing.T) store.Change {
	t.Helper()
	select {
	case c := <-w.changes:
		return c
	case err := <-w.ended:
		t.Fatal("the watch ended:", err)
	case <-time.After(soon):
		t.Fatal("no change")
	}
	return store.Change{}
}

func (w seen) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(soon):
		t.Fatal("the watch did not end")
	}
	return nil
}

func TestWatch(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store, prefix string) {
		ctx, dir := within(t), prefix+"/subnets/"
		before, err := s.Create(ctx, dir+"a", []byte("1"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(ctx, prefix+"/config", []byte("{}"), 0); err != nil {
			t.Fatal(err)
		}
		b, _ := s.Create(ctx, dir+"b", []byte("2"), time.Hour)

		running, stop := context.WithCancel(ctx)
		w := watch(running, s, dir, before.Revision)
		if c := w.next(t); c.Key != dir+"b" || string(c.Value) != "2" || c.Deleted || c.Permanent || c.Revision != b.Revision {
			t.Errorf("%+v", c)
		}
		a, _ := s.Replace(ctx, dir+"a", []byte("3"), 0, before.Revision)
		if c := w.next(t); c.Key != dir+"a" || string(c.Value) != "3" || !c.Permanent || c.Created != before.Created {
			t.Errorf("%+v", c)
		}
		_ = s.Delete(ctx, dir+"a", a.Revision)
		if c := w.next(t); c.Key != dir+"a" || !c.Deleted || c.Revision <= a.Revision {
			t.Errorf("%+v", c)
		}
		stop()
		if err := w.end(t); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		var at int64
		for len(w.at) > 0 {
			at = <-w.at
		}
		if w = watch(ctx, s, dir, at); true {
			c, _ := s.Create(ctx, dir+"c", []byte("4"), 0)
			if got := w.next(t); got.Revision != c.Revision {
				t.Errorf("resumed: %+v, want revision %d", got, c.Revision)
			}
		}
	})
}

func TestWatchOneKey(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store, prefix string) {
		ctx := within(t)
		snap, err := s.Read(ctx, prefix+"/config")
		if err != nil {
			t.Fatal(err)
		}
		w := watch(ctx, s, prefix+"/config", snap.Revision)
		for _, key := range []string{"/config2", "/subnets/a", "/config"} {
			if _, err := s.Create(ctx, prefix+key, []byte("x"), 0); err != nil {
				t.Fatal(err)
			}
		}
		if c := w.next(t); c.Key != prefix+"/config" {
			t.Errorf("%+v", c)
		}
	})
}

func TestExpiry(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store, prefix string) {
		ctx := within(t)
		p, err := s.Create(ctx, prefix+"/subnets/a", []byte("x"), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		w := watch(ctx, s, prefix+"/subnets/", p.Revision)
		if c := w.next(t); !c.Deleted || c.Key != prefix+"/subnets/a" {
			t.Errorf("%+v", c)
		}
		if left, err := s.TTL(ctx, store.Pair{Lease: p.Lease}); left != 0 || err != nil {
			t.Error(left, err)
		}
	})
}

// Keys without a slash at the front, as somebody may give the prefix.
func TestRelativePrefix(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store, prefix string) {
		ctx, prefix := within(t), strings.TrimPrefix(prefix, "/")
		if p, err := s.Create(ctx, prefix+"/subnets/a", []byte("x"), 0); err != nil || p.Key != prefix+"/subnets/a" {
			t.Fatal(p, err)
		}
		if snap, err := s.Read(ctx, prefix+"/subnets/"); err != nil || len(snap.Pairs) != 1 || snap.Pairs[0].Key != prefix+"/subnets/a" {
			t.Error(snap, err)
		}
	})
}

// Many changes come in few pieces, and each of them once and in order however
// often the watch is broken off.
func TestWatchResumedOften(t *testing.T) {
	onBoth(t, func(t *testing.T, s store.Store, prefix string) {
		ctx, dir := within(t), prefix+"/subnets/"
		snap, err := s.Read(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		const n = 200
		go func() {
			for i := range n {
				_, _ = s.Create(ctx, fmt.Sprintf("%s%03d", dir, i), []byte("x"), 0)
			}
		}()
		got, at := 0, snap.Revision
		for got < n && ctx.Err() == nil {
			piece, stop := context.WithCancel(ctx)
			_ = s.Watch(piece, dir, at, func(changes []store.Change, now int64) {
				if piece.Err() != nil {
					return
				}
				for _, c := range changes {
					if want := fmt.Sprintf("%s%03d", dir, got); c.Key != want {
						t.Fatalf("%s, want %s", c.Key, want)
					}
					got++
				}
				if at = now; len(changes) > 0 && got%3 == 0 {
					stop()
				}
				if got == n {
					stop()
				}
			})
			stop()
		}
	})
}
