package subnet

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/etcdtest"
	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/netconf"
	"github.com/weftnet/weft/internal/flannel/registry"
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

// network is a registry, and the bare store under it.
type network struct {
	*registry.Registry
	store.Store
	subnets string
}

func (n network) Close() error { return n.Registry.Close() }

// onBoth runs a test over both versions of etcd's interface, on a network of
// its own.
func onBoth(t *testing.T, test func(t *testing.T, n network)) {
	t.Helper()
	for name, api := range map[string]int{"v3": 3, "v2": 2} {
		t.Run(name, func(t *testing.T) {
			server, prefix := shared.Prefix(t)
			test(t, reach(t, server.Endpoint, prefix, api))
		})
	}
}

func reach(t *testing.T, endpoint, prefix string, api int) network {
	t.Helper()
	return reachWithin(t, endpoint, prefix, api, 2*time.Second)
}

func reachWithin(t *testing.T, endpoint, prefix string, api int, timeout time.Duration) network {
	t.Helper()
	s, err := registry.OpenStore(api, store.Options{Endpoints: []string{endpoint}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return network{registry.New(s, prefix), s, prefix + "/subnets/"}
}

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func subnet(v4 string) lease.Subnet { return lease.Subnet{IPv4: pfx(v4)} }

func node(public string) lease.Record {
	return lease.Record{PublicIP: netip.MustParseAddr(public), BackendType: "vxlan", BackendData: lease.VXLAN{VNI: 1}.Encode()}
}

func config(t *testing.T, text string) *netconf.Config {
	t.Helper()
	cfg, err := netconf.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// hold lets another node have a subnet.
func (n network) hold(t *testing.T, s lease.Subnet, public string) lease.Lease {
	t.Helper()
	l, err := n.Registry.Create(within(t), s, node(public), registry.TTL)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// put writes what it likes, for ever, as a person at a shell may.
func (n network) put(t *testing.T, name, value string) {
	t.Helper()
	ctx := within(t)
	read, err := n.Read(ctx, n.subnets+name)
	if err == nil && len(read.Pairs) == 1 {
		_, err = n.Replace(ctx, n.subnets+name, []byte(value), 0, read.Pairs[0].Revision)
	} else if err == nil {
		_, err = n.Store.Create(ctx, n.subnets+name, []byte(value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (n network) names(t *testing.T) (names []string) {
	t.Helper()
	snap, err := n.Leases(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range snap.Leases {
		names = append(names, l.Name)
	}
	return names
}
