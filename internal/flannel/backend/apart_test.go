package backend

import (
	"net/netip"
	"strings"
	"testing"
)

func TestApart(t *testing.T) {
	t.Parallel()
	own, own6 := netip.MustParsePrefix("10.3.21.0/24"), netip.MustParsePrefix("fd00:3:21::/64")
	for _, c := range []struct {
		own     netip.Prefix
		peer    string // "" for none
		refused bool
	}{
		{own, "10.3.21.0/24", true},
		{own, "10.3.21.128/25", true},
		{own, "10.3.0.0/16", true},
		{own, "0.0.0.0/0", true},
		{own, "10.3.20.0/24", false},
		{own, "10.3.22.0/24", false},
		{own, "::/0", false},
		{own, "", false},
		{own6, "fd00:3:21::/80", true},
		{own6, "fd00:3:22::/64", false},
		{netip.Prefix{}, "0.0.0.0/0", false},
		{netip.Prefix{}, "", false},
	} {
		var peer netip.Prefix
		if c.peer != "" {
			peer = netip.MustParsePrefix(c.peer)
		}
		err := Apart(c.own, peer)
		if (err != nil) != c.refused {
			t.Errorf("own %v, peer's %v: error %v, want one: %v", c.own, peer, err, c.refused)
		}
		if err != nil && !(strings.Contains(err.Error(), peer.String()) && strings.Contains(err.Error(), c.own.String())) {
			t.Errorf("%v does not name %v and %v", err, peer, c.own)
		}
	}
}
