package interop

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/weftnet/weft/internal/lab"
)

// TestShortcutSocketFlood floods a link whose socket holds little with single
// datagrams of a station that programs know. At first each waits in the socket behind
// the one before, until that overflows; then programs drop what would wait there, and
// carry the rest past it. Each datagram comes out behind all earlier ones, so never
// twice, or counts as dropped.
func TestShortcutSocketFlood(t *testing.T) {
	t.Parallel()
	lab.NeedShortcuts(t)
	lab.NeedNFTables(t)
	for i, u := range underlays {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			a := newAlone(t, user, u, func(h *lab.Host, s *spec) {
				eachAlone(h, s)
				s.Env = append(s.Env, defaultBuffer)
			})
			a.slowInside(t)
			flow := numberFlow(t, i == 1)
			f := &flood{alone: a, flow: flow, around: a.outerOf(t, vxlan(5, flow))}
			check(t, lab.Eventually(4*waitLimit, func() error { return f.round(t) }))
		})
	}
}

// slowInside has the host do a lot for each frame that comes out of the link, which
// keeps whoever brings it: the worker does not keep up with a flood.
func (a *alone) slowInside(t *testing.T) {
	t.Helper()
	check(t, a.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Name: "slow", Family: nftables.TableFamilyNetdev})
		chain := c.AddChain(&nftables.Chain{
			Name: "inside", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityFilter, Device: a.link,
		})
		for range 50 {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: slices.Repeat([]expr.Any{&expr.Counter{}}, 100)})
			if err := c.Flush(); err != nil {
				return err
			}
		}
		return nil
	}))
}

// flood is a stream of numbered frames that come in as fast as they can.
type flood struct {
	*alone
	flow   []byte
	around outerPacket
	rounds int
}

// floodFrames is some hundred times what the socket holds.
const floodFrames = 10000

// round sends some, and returns an error unless the socket was emptied, and the
// frames behind went past it.
func (f *flood) round(t *testing.T) error {
	t.Helper()
	f.rounds++
	f.weft.must(f.entryElsewhere(f.underlay, f.rounds)...) // all flows are the process's again
	f.inside.Stop()
	f.inside = lab.TestCapture(t, f.Host, f.link)
	burst := make([][]byte, floodFrames)
	for i := range burst {
		burst[i] = f.around.with(numberedFrame(f.flow, uint32(i)))
	}
	before, full := f.figures(t), f.neverQueued(t)
	check(t, f.peer.SendFrame("eth0", burst...))
	now := f.settled(t, before, full)
	f.checkInside(t, now.rxPackets)
	waiting := now.weft.Drops["socket_full"] - (f.neverQueued(t).socket - full.socket)
	if waiting == 0 || receivedShort(now) < floodFrames/10 {
		return fmt.Errorf("%d datagrams were dropped that would have waited, %d went past the process; %+v", waiting, receivedShort(now), now.weft)
	}
	return nil
}

// settled waits until all frames of a round have come out or count as dropped.
func (f *flood) settled(t *testing.T, before figures, full unqueued) (now figures) {
	t.Helper()
	check(t, lab.Eventually(waitLimit, func() error {
		now = f.figures(t).since(before)
		if sum := now.rxPackets + now.lost(figures{}) + f.neverQueued(t).wire - full.wire; sum != floodFrames {
			return fmt.Errorf("%d frames count, %d were sent: %+v", sum, floodFrames, now.weft)
		}
		return nil
	}))
	for reason, n := range now.weft.Drops {
		if n > 0 && reason != "socket_full" {
			t.Errorf("%d dropped for %s", n, reason)
		}
	}
	return now
}

// checkInside wants just so many frames to have come out of the link, in order.
func (f *flood) checkInside(t *testing.T, want uint64) {
	t.Helper()
	last, n := -1, uint64(0)
	for _, frame := range f.inside.Stop() {
		number, ok := numberOf(f.flow, frame.Data)
		if !ok {
			continue
		}
		if n++; int(number) <= last {
			t.Fatalf("frame %d came out behind %d", number, last)
		}
		last = int(number)
	}
	if n+uint64(f.inside.Dropped()) != want {
		t.Errorf("%d frames came out, and count as %d", n, want)
	}
}

// unqueued are datagrams that the kernel had no room for: in sockets, and before it
// looked at them.
type unqueued struct{ socket, wire uint64 }

func (f *flood) neverQueued(t *testing.T) (n unqueued) {
	t.Helper()
	check(t, f.Do(func() error {
		for _, family := range []string{"udp", "udp6"} {
			text, err := os.ReadFile("/proc/thread-self/net/" + family)
			for line := range strings.Lines(string(text)) {
				fields := strings.Fields(line)
				drops, _ := strconv.ParseUint(fields[len(fields)-1], 10, 64) // the first line has none
				n.socket += drops
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}))
	wire, err := f.Stats("eth0")
	check(t, err)
	n.wire = wire.RxDropped
	return n
}
