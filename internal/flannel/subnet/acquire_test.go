package subnet

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/registry"
)

const ten = `{"Network":"10.0.0.0/16"}`

// acquire returns the lease of node 1.2.3.4, and what was noted.
func acquire(t *testing.T, n network, text string, previous lease.Subnet) (l lease.Lease, notes string) {
	t.Helper()
	l, err := Acquire(within(t), n.Registry, config(t, text), Claim{
		Record: node("1.2.3.4"), Previous: previous, Note: func(s string) { notes += s + "\n" },
	})
	if err != nil {
		t.Fatal(err)
	}
	there, found, err := n.Lease(within(t), l.Name)
	if err != nil || !found || !there.Same(l) || there.Revision != l.Revision || there.Permanent != l.Permanent {
		t.Fatalf("acquired %+v, in etcd is %+v %v", l, there, err)
	}
	return l, notes
}

func TestAcquireFresh(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		l, notes := acquire(t, n, ten, lease.Subnet{})
		if !pfx("10.0.0.0/16").Overlaps(l.IPv4) || l.IPv4.Bits() != 24 || l.IPv4 == pfx("10.0.0.0/24") || l.IPv6.IsValid() || notes != "" {
			t.Errorf("%+v %s", l, notes)
		}
		if left := time.Until(l.Expires); l.Permanent || left > registry.TTL || left < registry.TTL-time.Minute {
			t.Error(left)
		}
		again, _ := acquire(t, n, ten, lease.Subnet{})
		if again.Subnet != l.Subnet || again.Revision == l.Revision {
			t.Errorf("%+v, then %+v", l, again)
		}
	})
}

func TestAcquireTakesBack(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		n.hold(t, subnet("10.0.7.0/24"), "1.2.3.4")
		n.hold(t, subnet("10.0.8.0/24"), "1.2.3.5")
		if l, _ := acquire(t, n, ten, subnet("10.0.9.0/24")); l.Subnet != subnet("10.0.7.0/24") {
			t.Errorf("%+v", l)
		}
		n.hold(t, subnet("10.0.9.0/24"), "1.2.3.4")
		if l, _ := acquire(t, n, ten, subnet("10.0.9.0/24")); l.Subnet != subnet("10.0.9.0/24") {
			t.Errorf("of two, not the previous one: %+v", l)
		}
	})
}

// A lease that the config no longer allows is given back.
func TestAcquireAfterConfigChange(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		n.hold(t, subnet("10.0.7.0/24"), "1.2.3.4")
		l, notes := acquire(t, n, `{"Network":"10.0.0.0/16","SubnetLen":25}`, subnet("10.0.7.0/24"))
		if l.IPv4.Bits() != 25 || !slices.Equal(n.names(t), []string{l.Name}) {
			t.Error(l, n.names(t))
		}
		for _, want := range []string{"10.0.7.0/24 for this node does not fit", "previous subnet 10.0.7.0/24 is not one that the config allows"} {
			if !strings.Contains(notes, want) {
				t.Errorf("%s\nwant %s", notes, want)
			}
		}
	})
}

// It stays while there is no other for the node: containers have its addresses.
func TestAcquireNothingFree(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		const four = `{"Network":"10.1.0.0/22"}` // of which flannel leaves out the first
		n.hold(t, subnet("10.0.7.0/24"), "1.2.3.4")
		for _, s := range []string{"10.1.1.0/24", "10.1.2.0/24", "10.1.3.0/24"} {
			n.hold(t, subnet(s), "1.2.3.5")
		}
		before := n.names(t)
		_, err := Acquire(within(t), n.Registry, config(t, four), Claim{Record: node("1.2.3.4"), Note: func(string) {}})
		if err == nil || !slices.Equal(n.names(t), before) {
			t.Errorf("%v, and there are %v, want %v", err, n.names(t), before)
		}
	})
}

func TestAcquirePrevious(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		n.hold(t, subnet("10.0.8.0/24"), "1.2.3.5")
		if l, notes := acquire(t, n, ten, subnet("10.0.9.0/24")); l.Subnet != subnet("10.0.9.0/24") || notes != "" {
			t.Error(l, notes)
		}
	})
	onBoth(t, func(t *testing.T, n network) {
		n.hold(t, subnet("10.0.8.0/24"), "1.2.3.5")
		l, notes := acquire(t, n, ten, subnet("10.0.8.0/24"))
		if l.Subnet == subnet("10.0.8.0/24") || !strings.Contains(notes, "10.0.8.0/24 belongs to another node by now") {
			t.Error(l, notes)
		}
	})
}

// A reservation has no end, and gets none.
func TestAcquireReservation(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		n.put(t, "10.0.7.0-24", `{"PublicIP":"1.2.3.4"}`)
		l, _ := acquire(t, n, ten, lease.Subnet{})
		if l.Subnet != subnet("10.0.7.0/24") || !l.Permanent || !l.Expires.IsZero() {
			t.Errorf("%+v", l)
		}
	})
}

// What is taken is taken, however it is written.
func TestAcquireAround(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		const four = `{"Network":"10.0.0.0/22"}`
		n.put(t, "10.0.1.0-24", "junk")
		n.put(t, "10.0.2.128-25", `{"PublicIP":"1.2.3.9"}`)
		n.put(t, "rubbish", "junk")
		if l, _ := acquire(t, n, four, lease.Subnet{}); l.Subnet != subnet("10.0.3.0/24") {
			t.Errorf("%+v", l)
		}
		_, err := Acquire(within(t), n.Registry, config(t, four), Claim{Record: node("1.2.3.7")})
		if !errors.Is(err, ErrFull) {
			t.Error(err)
		}
	})
}

func TestAcquireBothFamilies(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		const both = `{"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48"}`
		previous := lease.Subnet{IPv4: pfx("10.0.7.0/24"), IPv6: pfx("fc00:0:0:7::/64")}
		if l, notes := acquire(t, n, both, previous); l.Subnet != previous || l.Name != "10.0.7.0-24&fc00:0:0:7::-64" || notes != "" {
			t.Error(l, notes)
		}
		// One that lacks the family that was since switched on does not fit.
		l, err := Acquire(within(t), n.Registry, config(t, both), Claim{Record: node("1.2.3.5"), Previous: subnet("10.0.8.0/24")})
		if err != nil || !pfx("fc00::/48").Overlaps(l.IPv6) || l.IPv6 == previous.IPv6 || l.IPv4 == previous.IPv4 {
			t.Error(l, err)
		}
	})
}

// Two keys that differ may still share a family's subnet; who was second makes
// room.
func TestAcquireMakesRoom(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		const both = `{"Network":"10.0.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48"}`
		first := lease.Subnet{IPv4: pfx("10.0.7.0/24"), IPv6: pfx("fc00:0:0:7::/64")}
		second := lease.Subnet{IPv4: pfx("10.0.7.0/24"), IPv6: pfx("fc00:0:0:8::/64")}
		n.hold(t, first, "1.2.3.5")
		n.hold(t, second, "1.2.3.4")
		l, _ := acquire(t, n, both, second)
		if l.Overlaps(first) || len(n.names(t)) != 2 {
			t.Error(l, n.names(t))
		}
		n.hold(t, lease.Subnet{IPv4: l.IPv4, IPv6: pfx("fc00:0:0:ffff::/64")}, "1.2.3.6")
		if kept, _ := acquire(t, n, both, second); kept.Subnet != l.Subnet {
			t.Error("the first one makes room:", kept)
		}
	})
}

func TestAcquireWithoutEtcd(t *testing.T) {
	n := reach(t, "http://127.0.0.1:1", "/n", 3)
	if l, err := Acquire(within(t), n.Registry, config(t, ten), Claim{Record: node("1.2.3.4")}); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Error(l, err)
	}
}
