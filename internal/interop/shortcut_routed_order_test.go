package interop

import (
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// TestShortcutRoutedOrder has numbered datagrams go both ways over links that carry
// IP packets, for some seconds, while all flows are the process's again and again:
// each arrives, and none behind a later one of its flow, whether sent or received by
// the process or past it, which half of them do.
func TestShortcutRoutedOrder(t *testing.T) {
	lab.NeedShortcuts(t)
	for _, off := range []string{"dev_ring", ""} {
		t.Run("without "+off, func(t *testing.T) {
			t.Setenv("WEFT_OFFLOAD_OFF", off)
			routedOrder(t)
		})
	}
}

func routedOrder(t *testing.T) {
	t.Helper()
	const flows = 8
	for i, kind := range routedKinds {
		t.Run(kind, func(t *testing.T) {
			a, b := connectRouted(t, kind, underlays[1-i], user)
			for i := range nodesB {
				check(t, a.Ping(nodesB[i].Addr(), lab.PingOptions{}).Lost())
			}
			m := newMeter(t, a, b)
			if kind == "l3" { // those of bare packets are every second
				takeBack(t, underlays[1-i], a, b)
			}
			failed := make(chan error, 2*flows)
			for i := range flows {
				there, back := newStream(t, a.Host, b.Host, nodesB[i%2].Addr()), newStream(t, b.Host, a.Host, nodesA[i%2].Addr())
				for _, s := range []*numbered{there, back} {
					go func() { failed <- s.run(3 * shortcutLease) }()
				}
			}
			for range 2 * flows {
				if err := <-failed; err != nil {
					t.Error(err)
				}
			}
			m.checkDrops(t)
			check(t, m.pastProcess(2))
		})
	}
}

// connectRouted joins two fresh hosts by links of a kind.
func connectRouted(t *testing.T, of string, u underlay, far kind) (a, b *vtep) {
	t.Helper()
	if of == "udp" {
		return connectUDP(t, u)
	}
	return connectL3(t, u, far)
}
