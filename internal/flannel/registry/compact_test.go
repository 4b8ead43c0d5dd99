package registry

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// compact makes the store forget what was changed: v3 is told to, v2 remembers
// a thousand changes.
func compact(t *testing.T, n away) {
	t.Helper()
	ctx := within(t)
	if n.reachable.other.mine == "v2" {
		l, _, err := n.reachable.Lease(ctx, "10.3.2.0-24")
		if err != nil {
			t.Fatal(err)
		}
		for range 1001 {
			if l, err = n.reachable.Renew(ctx, l, TTL); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{n.server.Direct()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	read, err := c.Get(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(ctx, read.Header.Revision); err != nil {
		t.Fatal(err)
	}
}
