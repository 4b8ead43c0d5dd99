package subnet

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/weftnet/weft/internal/flannel/lease"
)

// race lets so many nodes ask at one instant, and returns what they got.
func race(t *testing.T, n network, text string, nodes int) []lease.Lease {
	t.Helper()
	cfg, ctx := config(t, text), within(t)
	leases, errs := make([]lease.Lease, nodes), make([]error, nodes)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range nodes {
		done.Go(func() {
			<-start
			leases[i], errs[i] = Acquire(ctx, n.Registry, cfg, Claim{Record: node(fmt.Sprintf("1.2.3.%d", i+1))})
		})
	}
	close(start)
	done.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
	}
	return leases
}

// distinct checks that no two nodes share an address, and that the registry
// holds what they were told and nothing else.
func distinct(t *testing.T, n network, leases []lease.Lease) {
	t.Helper()
	seen := map[netip.Prefix]int{}
	for i, l := range leases {
		for _, p := range []netip.Prefix{l.IPv4, l.IPv6} {
			if j, ok := seen[p]; ok && p.IsValid() {
				t.Errorf("nodes %d and %d both have %v", i, j, p)
			}
			seen[p] = i
		}
		if there, found, err := n.Lease(within(t), l.Name); err != nil || !found || there.PublicIP != l.PublicIP {
			t.Errorf("node %d has %v, in etcd is %+v %v", i, l.Subnet, there, err)
		}
	}
	if names := n.names(t); len(names) != len(leases) {
		t.Errorf("%d leases for %d nodes", len(names), len(leases))
	}
}

func TestTwentyAtOnce(t *testing.T) {
	for range 5 {
		onBoth(t, func(t *testing.T, n network) { distinct(t, n, race(t, n, ten, 20)) })
	}
}

func TestFiftyAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) { distinct(t, n, race(t, n, ten, 50)) })
}

// As many nodes as subnets: each gets one.
func TestAsManyAsThereAre(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		distinct(t, n, race(t, n, `{"Network":"10.0.0.0/16","SubnetMax":"10.0.20.0"}`, 20))
	})
}

// In both families at once, where the keys of two nodes hardly ever collide
// but their subnets often do.
func TestBothFamiliesAtOnce(t *testing.T) {
	for range 3 {
		onBoth(t, func(t *testing.T, n network) {
			const both = `{"Network":"10.0.0.0/16","SubnetMax":"10.0.90.0","EnableIPv6":true,"IPv6Network":"fc00::/48","IPv6SubnetMax":"fc00:0:0:90::"}`
			distinct(t, n, race(t, n, both, 20))
		})
	}
}
