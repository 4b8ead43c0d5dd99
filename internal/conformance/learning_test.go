package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weftnet/weft/internal/lab"
)

// ageingTime is what the link and its bridge keep what they learn for. The
// scripts have 30 s and 10 s; the kernel looks every ten seconds.
const ageingTime = 10 * time.Second

// agedLimit is when all of that is gone at the latest: an entry may wait for
// the sweep that finds it young, and for the next.
const agedLimit = 3 * ageingTime

// test_learning: a frame from a site is learnt from; what is for its sender
// then goes there alone; when the entry is deleted, and when it has aged though
// traffic goes by it, everywhere again; and the bridge learns from the link's
// frames only while its port is told to.
func TestVXLANBridge1DLearning(t *testing.T) {
	onBridge1d(t, variants[:2], func(t *testing.T, s *sites, g *segment) {
		s.startLearning(t)
		s.checkLearning(t, g)
	})
}

// startLearning turns learning on, with an ageing time that can be waited for.
func (s *sites) startLearning(t *testing.T) {
	t.Helper()
	for _, g := range s.segments {
		if g.link.kind == kernel {
			lab.NeedLinux(t, 6, 15, "ageing of FDB entries by receipt alone")
		}
		check(t, s.sw.SetBridgeAgeing(g.bridge, ageingTime))
		g.link.set(t, "ageing", strconv.Itoa(int(ageingTime/time.Second)))
		g.link.set(t, "learning")
	}
	s.reapply(t)
}

func (s *sites) checkLearning(t *testing.T, g *segment) {
	t.Helper()
	s.wantBurst(t, g, unknownMAC, s.stranger(g), 10, 10, 10)
	s.teach(t, g)
	s.wantBurst(t, g, unknownMAC, s.stranger(g), 0, 10, 0)

	g.link.fdb(t, "del", unknownMAC.String())
	s.unpin(t, g, "", unknownMAC)
	s.wantBurst(t, g, unknownMAC, s.stranger(g), 10, 10, 10)

	s.teach(t, g)
	s.wantBurst(t, g, unknownMAC, s.stranger(g), 0, 10, 0)
	s.sendUntilAged(t, g)
	s.wantBurst(t, g, unknownMAC, s.stranger(g), 10, 10, 10)

	s.checkPortLearning(t, g)
}

// teach has pod1 send a frame from a MAC address and waits until both the link
// and its bridge know it.
func (s *sites) teach(t *testing.T, g *segment) {
	t.Helper()
	s.sendFromStranger(t, g)
	g.link.awaitEntry(t, unknownMAC.String(), unknownMAC.String()+" dst "+s.underlay.far[0].Addr().String()+" self ")
	check(t, lab.Eventually(waitLimit, func() error { return g.portKnows(t, true) }))
}

// sendFromStranger has pod1 send a broadcast that says it is another's.
func (s *sites) sendFromStranger(t *testing.T, g *segment) {
	t.Helper()
	v6 := s.underlay.sw.Addr().Is6()
	e := echo{srcMAC: unknownMAC, dstMAC: broadcast, src: g.net.address(v6, 3), dst: s.stranger(g)}
	check(t, g.pods[0].SendFrame("eth0", e.frame(t)))
}

// portKnows returns an error unless the bridge has, or has not, learnt that
// the MAC address is behind the link.
func (g *segment) portKnows(t *testing.T, want bool) error {
	t.Helper()
	known := slices.ContainsFunc(g.link.portTable(t), func(line string) bool {
		return strings.HasPrefix(line, unknownMAC.String()+" ")
	})
	if known != want {
		return fmt.Errorf("%s has %v behind %s: %v, want %v", g.bridge, unknownMAC, g.dev, known, want)
	}
	return nil
}

// sendUntilAged sends to a learnt MAC address until the link and its bridge
// have forgotten it, and wants the frames to have gone there until then.
func (s *sites) sendUntilAged(t *testing.T, g *segment) {
	t.Helper()
	const id, every = 5555, 200 * time.Millisecond
	v6 := s.underlay.sw.Addr().Is6()
	frame := (&echo{srcMAC: macOf(t, g.h1, "eth0"), dstMAC: unknownMAC, src: g.net.address(v6, 1), dst: s.stranger(g), id: id}).frame(t)
	start := time.Now()
	sent := 0
	check(t, lab.Eventually(agedLimit, func() error {
		if time.Since(start) < time.Duration(sent)*every {
			return fmt.Errorf("%v is still known", unknownMAC)
		}
		sent++
		check(t, g.h1.SendFrame("eth0", frame))
		if err := g.portKnows(t, false); err != nil {
			return err
		}
		if lines := g.link.entry(t, unknownMAC.String()); len(lines) > 0 {
			return fmt.Errorf("%s still has %q", g.dev, lines)
		}
		return nil
	}))
	if lived := time.Since(start); lived < ageingTime/2 {
		t.Errorf("%v was forgotten %v after it was learnt, want %v", unknownMAC, lived, ageingTime)
	}
	if alone := g.tallies[1].count(isEcho(id)) - g.tallies[2].count(isEcho(id)); alone < 10 {
		t.Errorf("%d of %d frames went to the learnt site alone", alone, sent)
	}
}

// checkPortLearning has the bridge learn from the link, or not.
func (s *sites) checkPortLearning(t *testing.T, g *segment) {
	t.Helper()
	for _, on := range []bool{false, true} {
		check(t, s.sw.SetPortLearning(g.dev, on))
		s.sendFromStranger(t, g)
		s.fences.pass(t, g.pods[0], "eth0", g.tallies[0])
		check(t, g.portKnows(t, on))
	}
}
