package interop

import (
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestPing is the thinnest way through: a request and its reply, in every
// pairing, over both kinds of underlay, IPv4 and IPv6 inside.
func TestPing(t *testing.T) {
	t.Parallel()
	for _, p := range pairings {
		for _, u := range []underlay{underlay4, underlay6} {
			t.Run(p.String()+"/"+u.name, func(t *testing.T) {
				t.Parallel()
				a, b := connect(t, p, u, nil)
				for i := range innerA {
					check(t, a.Ping(innerB[i].Addr(), lab.PingOptions{Count: 3}).Lost())
					check(t, b.Ping(innerA[i].Addr(), lab.PingOptions{Count: 3}).Lost())
				}
			})
		}
	}
}
