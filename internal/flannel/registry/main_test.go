package registry

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
)

var shared etcdtest.Shared

func TestMain(m *testing.M) { shared.Main(m) }

// soon is what a test waits for at most.
const soon = 20 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	t.Cleanup(cancel)
	return ctx
}

// onBoth runs a test over both versions of etcd's interface, on a network of
// its own.
func onBoth(t *testing.T, test func(t *testing.T, r *Registry)) {
	t.Helper()
	for name, api := range map[string]int{"v3": 3, "v2": 2} {
		t.Run(name, func(t *testing.T) {
			server, prefix := shared.Prefix(t)
			test(t, opened(t, server.Endpoint, prefix, api))
		})
	}
}

func opened(t *testing.T, endpoint, prefix string, api int) *Registry {
	t.Helper()
	r, err := Open(Options{Options: store.Options{Endpoints: []string{endpoint}, Timeout: 2 * time.Second}, Prefix: prefix, API: api})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func subnet(v4 string) lease.Subnet { return lease.Subnet{IPv4: netip.MustParsePrefix(v4)} }

func at(public string) lease.Record { return lease.Record{PublicIP: netip.MustParseAddr(public)} }

// create takes a subnet for a node.
func create(t *testing.T, r *Registry, v4, public string) lease.Lease {
	t.Helper()
	l, err := r.Create(within(t), subnet(v4), at(public), TTL)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// put writes what it likes, as a person at a shell may.
func put(t *testing.T, r *Registry, key, value string) {
	t.Helper()
	ctx := within(t)
	read, err := r.store.Read(ctx, key)
	if err == nil && len(read.Pairs) == 1 {
		_, err = r.store.Replace(ctx, key, []byte(value), 0, read.Pairs[0].Revision)
	} else if err == nil {
		_, err = r.store.Create(ctx, key, []byte(value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}
