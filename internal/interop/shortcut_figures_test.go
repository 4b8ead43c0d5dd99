package interop

import (
	"fmt"
	"slices"
	"testing"

	"github.com/weftnet/weft/internal/lab"
)

// roundOf are single frames of all kinds that programs carry, of many sizes, from
// stations with that address.
func roundOf(t *testing.T, src []byte) (round [][]byte, bytes uint64) {
	t.Helper()
	for _, p := range []inner{{}, {v6: true}, {tcp: true}, {v6: true, tcp: true}} {
		p.srcPort, p.dstPort = 1000, 2000
		for i := range 24 {
			p.size = i * (2*i + 13) // up to 1357; each is longer than the one before, so they are not joined
			frame := readdressed(p.frame(t, 1), nil, src)
			round, bytes = append(round, frame), bytes+uint64(len(frame)-14)
		}
	}
	return round, bytes
}

// figuresCase is what comes of frames that a sends.
type figuresCase struct {
	name    string
	prepare func(a, b *vtep, u underlay)
	reason  string // of b's drops; "" if they are delivered
	own     bool   // they have the address of b's device
}

var figuresCases = []figuresCase{
	{name: "delivered", prepare: func(_, _ *vtep, _ underlay) {}},
	{name: "other vni", reason: "unknown_vni", prepare: func(a, _ *vtep, u underlay) {
		a.weft.must("fdb", "add", inMAC.String(), "dev", a.link, "dst", u.b.String(), "vni", "9")
	}},
	{name: "not allowed", reason: "source_not_allowed", prepare: func(_, b *vtep, _ underlay) {
		b.weft.must("link", "set", b.link, "type", "vxlan", "allow-sources", "192.0.2.0/24")
	}},
	{name: "own source", reason: "own_source", own: true, prepare: func(_, _ *vtep, _ underlay) {}},
}

// TestShortcutFigures sends single frames until the kernel carries whole rounds
// of them: whoever carries one, all figures are what was sent, to the byte, and
// what was sent was delivered or counts as dropped.
func TestShortcutFigures(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	for _, u := range underlays {
		for _, c := range figuresCases {
			t.Run(u.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				a, b := connectQuiet(t, pairing{user, user}, u)
				check(t, a.Ping(u.b, lab.PingOptions{}).Lost())
				c.prepare(a, b, u)
				src := []byte(markMAC(1))
				if c.own {
					d, err := b.Device(b.link)
					check(t, err)
					src = d.MAC
				}
				round, bytes := roundOf(t, src)
				inside := lab.TestCapture(t, b.Host, b.link)
				check(t, lab.Eventually(waitLimit, func() error {
					fa, fb, seen := a.figures(t), b.figures(t), len(inside.Frames())
					check(t, a.SendFrame(a.link, round...))
					fa, fb = settledSince(t, a, b, fa, fb, uint64(len(round)))
					checkRound(t, c, fa, fb, uint64(len(round)), bytes)
					if c.reason == "" {
						checkOut(t, inside, seen, round)
					} else if n := len(inside.Frames()) - seen; n > 0 {
						t.Fatalf("%d frames came out", n)
					}
					if fa.weft.Offload.ShortcutTx < uint64(len(round)) || c.reason == "" && fb.weft.Offload.ShortcutRx < uint64(len(round)) {
						return fmt.Errorf("past the processes went %d of %d frames at a, %d at b", fa.weft.Offload.ShortcutTx, len(round), fb.weft.Offload.ShortcutRx)
					}
					return nil
				}))
			})
		}
	}
}

// settledSince are the figures of both ends since before, once n frames count at
// the receiver, one way or the other.
func settledSince(t *testing.T, a, b *vtep, beforeA, beforeB figures, n uint64) (fa, fb figures) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		fa, fb = a.figures(t).since(beforeA), b.figures(t).since(beforeB)
		if got := fb.rxPackets + fb.lost(figures{}); got < n || fa.txPackets < n {
			return fmt.Errorf("%d of %d frames count as sent, %d as received or dropped: %v", fa.txPackets, n, got, fb.weft.Drops)
		}
		return nil
	}))
	return fa, fb
}

func (f figures) since(before figures) figures {
	f.rxPackets -= before.rxPackets
	f.rxBytes -= before.rxBytes
	f.txPackets -= before.txPackets
	f.txBytes -= before.txBytes
	f.weft = difference(f.weft, before.weft)
	f.weft.Offload.ShortcutTx -= before.weft.Offload.ShortcutTx
	f.weft.Offload.ShortcutRx -= before.weft.Offload.ShortcutRx
	return f
}

func checkRound(t *testing.T, c figuresCase, fa, fb figures, n, bytes uint64) {
	t.Helper()
	if fa.txPackets != n || fa.txBytes != bytes || fa.rxPackets != 0 || fa.lost(figures{}) != 0 {
		t.Fatalf("a sent %d packets, %d bytes, want %d, %d: %+v", fa.txPackets, fa.txBytes, n, bytes, fa.weft)
	}
	dropped := uint64(0)
	if c.reason != "" {
		dropped, n, bytes = n, 0, 0
	}
	if fb.rxPackets != n || fb.rxBytes != bytes || fb.txPackets != 0 || fb.lost(figures{}) != dropped || fb.weft.Drops[c.reason] != dropped {
		t.Fatalf("b received %d packets, %d bytes, want %d, %d, and %d dropped: %+v", fb.rxPackets, fb.rxBytes, n, bytes, dropped, fb.weft)
	}
}

// checkOut wants just those frames to have come out of the device, in any order:
// TCP and UDP take different ways.
func checkOut(t *testing.T, inside *lab.Capture, seen int, round [][]byte) {
	t.Helper()
	var got []string
	check(t, lab.Eventually(waitLimit, func() error {
		got = nil
		for _, f := range inside.Frames()[seen:] {
			got = append(got, string(f.Data))
		}
		if len(got) < len(round) {
			return fmt.Errorf("%d of %d frames came out", len(got), len(round))
		}
		return nil
	}))
	var want []string
	for _, f := range round {
		want = append(want, string(f))
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Fatalf("%d frames came out, and not those %d that were sent", len(got), len(want))
	}
}
