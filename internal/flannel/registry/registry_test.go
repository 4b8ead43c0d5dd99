package registry

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/flannel/lease"
	"github.com/weftnet/weft/internal/flannel/store"
)

// What stands in etcd is what flannel writes, key and value.
func TestBytesInEtcd(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		create(t, r, "10.3.1.0/24", "1.2.3.4")
		read, err := r.store.Read(within(t), r.subnets)
		if err != nil || len(read.Pairs) != 1 {
			t.Fatal(read, err)
		}
		p := read.Pairs[0]
		if p.Key != r.subnets+"10.3.1.0-24" || string(p.Value) != `{"PublicIP":"1.2.3.4","PublicIPv6":null}` || p.Permanent {
			t.Errorf("%+v %s", p, p.Value)
		}
	})
}

func TestLeases(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		ctx := within(t)
		b := create(t, r, "10.3.2.0/24", "1.2.3.5")
		a := create(t, r, "10.3.1.0/24", "1.2.3.4")
		put(t, r, r.subnets+"10.3.9.0-24", "no JSON")
		put(t, r, r.subnets+"rubbish", "{}")
		put(t, r, r.subnets+"10.3.3.0-24", `{"PublicIP":"1.2.3.6"}`)

		snap, err := r.Leases(ctx)
		if err != nil || len(snap.Leases) != 3 || len(snap.Malformed) != 2 {
			t.Fatalf("%+v %v", snap, err)
		}
		for i, want := range []lease.Lease{a, b} {
			got := snap.Leases[i]
			if !got.Same(want) || got.Revision != want.Revision || got.Created != want.Created || got.Permanent {
				t.Errorf("%+v, want %+v", got, want)
			}
			if left := time.Until(expiring(t, r, got).Expires); left > TTL || left < TTL-time.Minute {
				t.Error(left)
			}
		}
		if l := expiring(t, r, snap.Leases[2]); !l.Permanent || !l.Expires.IsZero() || l.Subnet != subnet("10.3.3.0/24") {
			t.Errorf("%+v", l)
		}
		if m := snap.Malformed[0]; m.Name != "10.3.9.0-24" || m.Subnet != subnet("10.3.9.0/24") {
			t.Errorf("%+v", m)
		}
		if m := snap.Malformed[1]; m.Name != "rubbish" || m.Subnet != (lease.Subnet{}) {
			t.Errorf("%+v", m)
		}
	})
}

// expiring asks when a lease expires, of which all else is known.
func expiring(t *testing.T, r *Registry, known lease.Lease) lease.Lease {
	t.Helper()
	l, found, err := r.Lease(within(t), known.Name)
	if err != nil || !found || !known.Expires.IsZero() {
		t.Fatal(known, found, err)
	}
	known.Expires = l.Expires
	if !reflect.DeepEqual(l, known) {
		t.Errorf("%+v, want %+v", l, known)
	}
	return l
}

func TestRenew(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		ctx := within(t)
		made, err := r.Create(ctx, subnet("10.3.1.0/24"), at("1.2.3.4"), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Create(ctx, subnet("10.3.1.0/24"), at("1.2.3.5"), time.Hour); !errors.Is(err, store.ErrExists) {
			t.Error(err)
		}
		renewed, err := r.Renew(ctx, made, TTL)
		if err != nil || time.Until(renewed.Expires) < TTL-time.Minute || renewed.Created != made.Created {
			t.Fatal(renewed, err)
		}
		if _, err := r.Renew(ctx, made, TTL); !errors.Is(err, store.ErrChanged) {
			t.Error("renewed over somebody else's change:", err)
		}
		got, found, err := r.Lease(ctx, made.Name)
		if err != nil || !found || got.Revision != renewed.Revision || time.Until(got.Expires) < TTL-time.Minute {
			t.Error(got, found, err)
		}
		if err := r.Delete(ctx, renewed); err != nil {
			t.Error(err)
		}
		if _, found, err := r.Lease(ctx, made.Name); found || err != nil {
			t.Error(found, err)
		}
	})
}

// A reservation stays one.
func TestRenewPermanent(t *testing.T) {
	onBoth(t, func(t *testing.T, r *Registry) {
		ctx := within(t)
		put(t, r, r.subnets+"10.3.1.0-24", `{"PublicIP":"1.2.3.4"}`)
		l, found, err := r.Lease(ctx, "10.3.1.0-24")
		if err != nil || !found || !l.Permanent {
			t.Fatal(l, err)
		}
		if l, err = r.Renew(ctx, l, TTL); err != nil || !l.Permanent || !l.Expires.IsZero() {
			t.Error(l, err)
		}
		if l, _, err = r.Lease(ctx, l.Name); err != nil || !l.Permanent {
			t.Error(l, err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	o := Options{Options: store.Options{Endpoints: []string{"http://127.0.0.1:1"}}, API: 4}
	if _, err := Open(o); err == nil {
		t.Error("API 4 is taken")
	}
}
