//go:build linux

package benchmark

import (
	"fmt"
	"strings"
	"time"
)

// Comparison measures one work on several ways, in rounds that take turns.
//
// The ratio of a way to another is the median of the ratios of their rounds in
// each turn, not the ratio of medians: a machine's speed drifts over seconds,
// and rounds next to each other share the drift. Every second turn goes
// backwards, so that a drift within turns evens out as well. What needs no long
// rounds has turns of several parts, which are turns of their own in all this.
type Comparison struct {
	work  Work
	round time.Duration
	lanes []*lane
	done  int // parts of turns
}

// lane is a way and what was measured on it.
type lane struct {
	way       *Way
	reference bool
	rounds    []Figures
	counted   tally         // by weft, in these rounds
	busy      time.Duration // of the whole machine, meanwhile
}

// Compare is ready to measure a work on ways, which are compared with the
// references. round is the length of a round of TCP; those of other works are
// in proportion.
func Compare(work Work, round time.Duration, references []*Way, ways ...*Way) *Comparison {
	work.Parts = max(work.Parts, 1)
	c := &Comparison{work: work, round: round / time.Duration(work.Parts)}
	for _, w := range references {
		c.lanes = append(c.lanes, &lane{way: w, reference: true})
	}
	for _, w := range ways {
		c.lanes = append(c.lanes, &lane{way: w})
	}
	return c
}

// Turn measures on every way for a round, in the parts that the work has.
func (c *Comparison) Turn() error {
	for range c.work.Parts {
		if err := c.part(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Comparison) part() error {
	for i := range c.lanes {
		l := c.lanes[i]
		if c.done%2 == 1 {
			l = c.lanes[len(c.lanes)-1-i]
		}
		if err := c.measure(l); err != nil {
			return fmt.Errorf("%s over %s: %w", c.work.Name(), l.way.Path.Name, err)
		}
	}
	c.done++
	return nil
}

func (c *Comparison) measure(l *lane) error {
	before, err := l.way.tally()
	if err != nil {
		return err
	}
	m, err := startMeter()
	if err != nil {
		return err
	}
	figures, err := c.work.run(l.way, c.round)
	if err != nil {
		return err
	}
	busy, err := m.read()
	if err != nil {
		return err
	}
	after, err := l.way.tally()
	if err != nil {
		return err
	}
	l.rounds = append(l.rounds, figures)
	l.busy += busy
	l.counted = l.counted.plus(after.since(before))
	return nil
}

// Figures are the medians of one of the ways, counted from the first
// reference, and its ratios to the references.
func (c *Comparison) Figures(way int) Figures {
	l := c.lanes[way]
	f := medians(l.rounds)
	for _, r := range c.lanes {
		if r.reference && r != l {
			unit := r.way.Path.Ratio
			f.setRatio(unit, l.rounds, r.rounds, c.work.Lead)
			f.setRatio(unit+cpuRatio, l.rounds, r.rounds, cpuPerGB)
		}
	}
	l.setShares(f)
	return f
}

// setRatio notes the median of the ratios of those turns that have one.
func (f Figures) setRatio(unit string, rounds, reference []Figures, of string) {
	var ratios []float64
	for i := range min(len(rounds), len(reference)) {
		v, ok := rounds[i][of]
		if base := reference[i][of]; ok && base > 0 {
			ratios = append(ratios, v/base)
		}
	}
	if len(ratios) > 0 {
		f[unit] = median(ratios)
	}
}

// setShares notes what weft did for each of its packets.
//
// A packet needs four calls from device to device: read, send, receive, write.
// The figure is how many packets shared one, on average: 1 if none did.
func (l *lane) setShares(f Figures) {
	if calls := l.counted["syscalls"]; calls > 0 {
		f[perCall] = 4 * float64(l.counted["rx_packets"]) / float64(calls)
	}
	if l.counted != nil && l.busy > 0 {
		percent := func(ticks uint64) float64 { return 100 * float64(ticks) * tick.Seconds() / l.busy.Seconds() }
		f[weftUser], f[weftSystem] = percent(l.counted["user"]), percent(l.counted["system"])
	}
}

// drops are the reasons for which weft dropped something, and how often.
func (l *lane) drops() map[string]uint64 {
	d := map[string]uint64{}
	for name, n := range l.counted {
		if reason, ok := strings.CutPrefix(name, dropPrefix); ok && n > 0 {
			d[reason] = n
		}
	}
	return d
}
