//go:build linux

package lab_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// anyPort of an address.
func anyPort(p netip.Prefix) netip.AddrPort { return netip.AddrPortFrom(p.Addr(), 0) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pingOnce fails the test unless one ping is answered.
func pingOnce(t *testing.T, h *lab.Host, dst netip.Addr, o lab.PingOptions) {
	t.Helper()
	if err := h.Ping(dst, o).Lost(); err != nil {
		t.Fatalf("ping %v: %v", dst, err)
	}
}

// waitLimit is how long what must happen may take on a busy machine.
const waitLimit = 5 * time.Second
