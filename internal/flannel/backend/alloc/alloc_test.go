package alloc

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/weftnet/weft/internal/flannel/backend"
	"github.com/weftnet/weft/internal/flannel/lease"
)

func TestLeaseAlone(t *testing.T) {
	b := New(backend.Node{
		Interface: "eth0", MTU: 1400,
		Addr: netip.MustParseAddr("10.4.7.1"), Public: netip.MustParseAddr("192.0.2.1"),
		Addr6: netip.MustParseAddr("fd00::1"), Public6: netip.MustParseAddr("2001:db8::1"),
	})
	rec, err := b.Prepare(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	text, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"PublicIP":"192.0.2.1","PublicIPv6":null}`; string(text) != want {
		t.Errorf("the lease says %s, want %s", text, want)
	}
	if mtu, err := b.Start(context.Background(), lease.Lease{}); mtu != 1400 || err != nil {
		t.Errorf("Start: %d, %v, want the interface's 1400", mtu, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v after its end", err)
	}
}
